//! The ways to a server: TLS, users with few rights, sentinels, clusters; and that no password
//! shows on any of them.

mod acl;
mod cluster;
#[path = "../expected/mod.rs"]
mod expected;
mod secrets;
mod sentinel;
mod tls;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statehouse_contracts::{
    Backend, ContentType, Endpoint, Error, Factory, Result, Scope, StateKey, StateManager,
    StateManagerExt, Transaction, Write,
};
use statehouse_dragonfly::DragonflyFactory;
use statehouse_integration_tests::{Outcome, Server, Service, Tests, cases};

use self::acl::{
    a_user_with_few_rights_hears_which_is_missing, a_user_with_the_documented_rights_works,
};
use self::cluster::{every_role_works_on_a_cluster, the_suite_holds_on_a_cluster};
use self::secrets::no_password_shows_anywhere;
use self::sentinel::a_failover_is_found_through_the_sentinel;
use self::tls::{a_client_proves_who_it_is, tls_trusts_the_given_authority_alone};

fn main() -> ExitCode {
    // What they do to the server is said in the words of Redis and Valkey.
    let on = |name| {
        Tests::on(name).with(cases![
            a_user_with_the_documented_rights_works,
            a_user_with_few_rights_hears_which_is_missing,
            every_role_works_on_a_cluster,
            no_password_shows_anywhere,
            a_failover_is_found_through_the_sentinel,
            tls_trusts_the_given_authority_alone,
            a_client_proves_who_it_is,
        ])
    };
    let whole_suite = Tests::on("redis").with(cases![the_suite_holds_on_a_cluster]);
    on("redis").and(on("valkey")).and(whole_suite).main()
}

/// How long servers may take to agree on something.
const PATIENCE: Duration = Duration::from_secs(60);

async fn open(url: &str) -> Result<Arc<dyn Backend>> {
    DragonflyFactory.open(&Endpoint::parse(url)?).await
}

async fn state(backend: &dyn Backend, namespace: &str) -> Result<Arc<dyn StateManager>> {
    backend.state(&Scope::parse(namespace, "tester")?).await
}

async fn put(state: &dyn StateManager, id: &str) -> Result<()> {
    let write = Write::put(
        StateKey::parse("note", id)?,
        id.to_owned(),
        ContentType::TEXT,
    );
    state.apply(Transaction::of(write)).await.map(|_| ())
}

/// Writes and reads.
async fn works(backend: &dyn Backend) -> Outcome {
    let state = state(backend, "works").await?;
    put(&*state, "a").await?;
    let record = state.get(&StateKey::parse("note", "a")?).await?;
    assert_eq!(record.ok_or("nothing is there")?.data, "a");
    Ok(())
}

/// The error of opening, which must fail.
async fn refusal(url: &str) -> std::result::Result<Error, String> {
    match open(url).await {
        Ok(_) => Err("it opens, and should not".to_owned()),
        Err(error) => Ok(error),
    }
}

/// Runs the service's own command line client inside, against one of its ports.
async fn cli(
    server: &Server,
    service: &Service,
    port: u16,
    words: &[&str],
) -> std::result::Result<String, String> {
    let (program, port) = (format!("{}-cli", service.name()), port.to_string());
    let mut command = vec![program.as_str(), "-p", &port];
    command.extend(words);
    let output = server.exec(command).await.map_err(|e| e.to_string())?;
    match output.code {
        0 => Ok(output.stdout),
        code => Err(format!("{words:?} ends with {code}: {output:?}")),
    }
}

/// Starts one more server inside, in the background.
async fn start(server: &Server, service: &Service, arguments: &[&str]) -> Outcome {
    let program = format!("{}-server", service.name());
    let mut command = vec![program.as_str()];
    command.extend(arguments);
    command.extend(["--daemonize", "yes", "--protected-mode", "no"]);
    let output = server.exec(command).await?;
    match output.code {
        0 => Ok(()),
        _ => Err(format!("a server does not start: {output:?}").into()),
    }
}

/// Asks again and again until the answer holds `wanted`.
async fn until(
    server: &Server,
    service: &Service,
    port: u16,
    words: &[&str],
    wanted: &str,
) -> Outcome {
    let limit = Instant::now() + PATIENCE;
    loop {
        let answer = cli(server, service, port, words).await;
        if answer.as_ref().is_ok_and(|answer| answer.contains(wanted)) {
            return Ok(());
        }
        if Instant::now() > limit {
            return Err(format!("{words:?} never says {wanted}: {answer:?}").into());
        }
        // sleep: between two looks of a poll with a deadline
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
