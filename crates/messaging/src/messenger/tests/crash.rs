//! Crashes between any two operations lose nothing, and leave nothing behind after a sweep.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const GROUPS: [&str; 2] = ["one", "two"];

#[derive(Clone, Debug)]
enum Act {
    Send { large: bool, fill: u8 },
    Ack(usize),
    Nack(usize),
    DeadLetter(usize),
    Redrive(usize),
    PurgeDead(usize),
    Sweep,
}

fn act() -> impl Strategy<Value = Act> {
    let group = || 0..GROUPS.len();
    prop_oneof![
        5 => (any::<bool>(), 0..3_u8).prop_map(|(large, fill)| Act::Send { large, fill }),
        4 => group().prop_map(Act::Ack),
        2 => group().prop_map(Act::Nack),
        1 => group().prop_map(Act::DeadLetter),
        1 => group().prop_map(Act::Redrive),
        1 => group().prop_map(Act::PurgeDead),
        2 => Just(Act::Sweep),
    ]
}

/// Does one act; a crash shows as an error.
async fn perform(messenger: &Messenger, act: &Act) -> Result<()> {
    match *act {
        Act::Send { large, fill } => {
            let size = if large { 11_000 } else { 10 };
            let payload = Payload::bytes(vec![fill; size]);
            messenger
                .send(Message::new(topic("t"), payload))
                .await
                .map(drop)
        }
        Act::Ack(at) => match take(messenger, at).await? {
            Some(got) => messenger.ack(&got).await,
            None => Ok(()),
        },
        Act::Nack(at) => match take(messenger, at).await? {
            Some(got) => messenger.nack(&got, "again").await,
            None => Ok(()),
        },
        Act::DeadLetter(at) => match take(messenger, at).await? {
            Some(got) => messenger.dead_letter(&got, "poison").await,
            None => Ok(()),
        },
        Act::Redrive(at) => messenger.redrive(&group(GROUPS[at]), None).await.map(drop),
        Act::PurgeDead(at) => {
            let group = group(GROUPS[at]);
            messenger.purge_dead_letters(&group).await.map(drop)
        }
        Act::Sweep => messenger.sweep().await.map(drop),
    }
}

async fn take(messenger: &Messenger, at: usize) -> Result<Option<Incoming>> {
    messenger
        .receive_one(&group(GROUPS[at]), Duration::ZERO)
        .await
}

/// Waits until what the crashed process had in hand is given back by the end of its leases.
async fn leases_end(world: &World) {
    for name in GROUPS {
        while world.consumer.counts(&group(name)).await.unwrap().in_flight > 0 {
            // sleep: the backend's clock ends the leases
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// The content of everything that a group still has must be there.
async fn check_nothing_is_lost(world: &World) -> BTreeSet<statehouse_contracts::ReferenceId> {
    world.references.collect_garbage().await.unwrap();
    let mut needed = BTreeSet::new();
    for name in GROUPS {
        let waiting = world.consumer.peek(&group(name), 1_000).await.unwrap();
        let messages = waiting.into_iter().map(|(received, _)| received.message);
        let dead = world.messenger().dead_letters(&group(name)).await.unwrap();
        let dead = dead.into_iter().map(|letter| letter.received.message);
        for message in messages.chain(dead) {
            if let Payload::Reference(reference) = message.payload {
                let content = world.references.resolve(&reference.id).await;
                assert!(content.is_ok(), "{} lost its content", message.id);
                needed.insert(reference.id);
            }
        }
    }
    needed
}

/// Acknowledges everything but dead letters.
async fn drain(world: &World) {
    let messenger = world.messenger();
    for (at, name) in GROUPS.into_iter().enumerate() {
        while let Some(got) = take(&messenger, at).await.unwrap() {
            ignore_lost_lease(messenger.ack(&got).await).unwrap();
            leases_end(world).await;
        }
        assert_eq!(world.consumer.counts(&group(name)).await.unwrap().ready, 0);
    }
}

/// The leases are short, and the machine may be slow.
fn ignore_lost_lease(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::LeaseLost => Ok(()),
        done => done,
    }
}

async fn run(acts: Vec<(Act, Option<i64>)>) {
    let world = World::new().await;
    let calm = world.messenger();
    for name in GROUPS {
        let spec = GroupSpec {
            lease: Duration::from_millis(5),
            ..spec("t")
        };
        world.consumer.declare(&group(name), &spec).await.unwrap();
    }
    for (act, crash) in acts {
        world.fuse.set(crash.unwrap_or(i64::MAX));
        let done = ignore_lost_lease(perform(&world.fused(), &act).await);
        assert!(done.is_ok() || world.fuse.blown(), "{act:?}: {done:?}");
        leases_end(&world).await;
        check_nothing_is_lost(&world).await;
    }
    drain(&world).await;
    calm.sweep().await.unwrap();
    let needed = check_nothing_is_lost(&world).await;
    let kept = calm.sweep().await.unwrap().kept;
    let stats = stored(&world).await;
    assert_eq!(
        stats.entries,
        needed.len() as u64 + kept,
        "nothing is left behind"
    );
    for name in GROUPS {
        calm.purge_dead_letters(&group(name)).await.unwrap();
    }
    calm.sweep().await.unwrap();
    assert_eq!(stored(&world).await.entries, 0);
}

fn block_on(future: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_crash_loses_or_leaks_content(
        acts in prop::collection::vec((act(), prop::option::weighted(0.4, 0..14_i64)), 1..25),
    ) {
        block_on(run(acts));
    }
}

#[test]
fn a_crash_at_each_step_of_a_send_an_ack_and_a_redrive() {
    let large = || Act::Send {
        large: true,
        fill: 1,
    };
    for step in 0..14 {
        let crash = |act| (act, Some(step));
        let calm = |act| (act, None);
        block_on(run(vec![crash(large()), calm(large())]));
        block_on(run(vec![
            calm(large()),
            crash(Act::Ack(0)),
            calm(Act::Sweep),
        ]));
        let dead = vec![
            calm(large()),
            calm(Act::DeadLetter(1)),
            crash(Act::Redrive(1)),
        ];
        block_on(run(dead));
    }
}
