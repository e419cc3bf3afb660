//! Kills the service at random points, again and again, and checks that nothing accepted is lost.
//!
//! The real binary serves one data directory. Many clients write state, send and receive messages,
//! push and work tasks. The process is killed with SIGKILL at random points, started again, and the
//! clients go on. In the end:
//!
//! - every acknowledged write, message and task is there;
//! - the change log has every version of every key, in order, and every version has its event;
//! - no task that was completed was handed out again, and no acknowledged message came back.
//!
//! `CRASH_ROUNDS` sets how often it is killed (100 by default).

#![expect(clippy::unwrap_used, reason = "a failed call fails the test")]

mod check;
mod ledger;
mod load;
mod server;

use std::sync::Arc;
use std::time::Duration;

use ledger::Ledger;
use server::Server;

#[test]
fn nothing_accepted_is_lost_through_a_hundred_kills() {
    let rounds = std::env::var("CRASH_ROUNDS").map_or(100, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut server = Server::new();
        let ledger = Arc::new(Ledger::default());
        server.start().await;
        let clients = load::Clients::start(&server, &ledger).await;
        for _ in 0..rounds {
            // sleep: the load runs for a random while before the kill.
            tokio::time::sleep(Duration::from_millis(rand::random_range(20..250))).await;
            server.kill();
            server.start().await;
        }
        clients.stop().await;
        check::everything(&server, &ledger).await;
        assert!(
            ledger.is_worth_it(rounds),
            "the clients did too little: {ledger:?}"
        );
        assert!(server.log().contains("the file was not closed"));
        eprintln!("{rounds} kills: {}", ledger.summary());
    });
}
