//! Any sequence of crashes: every effect happens exactly once.

use proptest::prelude::*;
use statehouse_contracts::{ConsumerExt, Delivery, ErrorKind};
use statehouse_state::{Inbox, Once};

use crate::inbox::{Bench, effect};
use crate::support::Store;

/// What may happen to a message in hand, and to the broker.
#[derive(Clone, Debug)]
enum Step {
    Send,
    /// A consumer takes what is there.
    Receive,
    /// The delivery at this place is handled: looked up, applied, acknowledged; and the consumer
    /// dies after so many of these steps.
    Handle(usize, u8),
    /// The broker forgets all acks and all leases.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Send),
        3 => Just(Step::Receive),
        6 => (any::<usize>(), 0..4_u8).prop_map(|(place, until)| Step::Handle(place, until)),
        2 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

/// Deals with a delivery, up to a step.
async fn handle(bench: &Bench, inbox: &Inbox, delivery: &Delivery, until: u8) {
    let known = inbox.known(std::slice::from_ref(delivery)).await.unwrap()[0];
    if until == 0 {
        return;
    }
    if !known {
        let text = String::from_utf8(delivery.message().bytes().to_vec()).unwrap();
        let before = bench.effects(&text).await;
        let once = inbox
            .apply_once(delivery, effect(delivery.message()))
            .await
            .unwrap();
        // The model: applied exactly if there was no effect yet.
        assert_eq!(before.is_empty(), matches!(once, Once::Applied(_)));
    }
    if until == 1 {
        return;
    }
    if let Err(error) = bench.queue.ack(delivery).await {
        assert_eq!(error.kind(), ErrorKind::LeaseLost);
    }
}

async fn play(steps: Vec<Step>) {
    let bench = Bench::on(Store::memory().await).await;
    let inbox = bench.inbox();
    let (mut sent, mut in_hand) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Send => {
                let text = format!("m{}", sent.len());
                bench.send(&text).await;
                sent.push(text);
            }
            Step::Receive => in_hand.extend(bench.receive(&*bench.queue).await),
            Step::Handle(place, until) if !in_hand.is_empty() => {
                // It stays in hand: a consumer that was slow may go on with it later.
                let delivery = &in_hand[place % in_hand.len()];
                handle(&bench, &inbox, delivery, until).await;
            }
            Step::Handle(..) => {}
            Step::Crash => bench.queue.crash(),
        }
        for text in &sent {
            assert!(
                bench.effects(text).await.len() <= 1,
                "{text} happened twice"
            );
        }
    }
    bench.queue.crash();
    loop {
        let left = bench.receive(&*bench.queue).await;
        if left.is_empty() {
            break;
        }
        for delivery in &left {
            handle(&bench, &inbox, delivery, 2).await;
        }
    }
    for text in &sent {
        assert_eq!(bench.effects(text).await, "x", "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_effect_happens_exactly_once(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps));
    }
}
