//! Payloads and their policies.

use statehouse_contracts::{Kind, Message, Payload};
use statehouse_messaging::{MailboxOptions, Placement, Policy, PolicyManager, json_payload};

use crate::world::*;

fn kind(name: &str) -> Kind {
    Kind::new(name).unwrap()
}

/// The rules were a map without a lock: setting one while others read was a data race.
#[test]
fn bb12_rules_change_while_others_read() {
    const KINDS: usize = 300;
    let policies = PolicyManager::default();
    let toggled = kind("toggled");
    policies.set(toggled.clone(), Policy::AlwaysReference);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let policies = &policies;
            scope.spawn(move || {
                for n in 0..KINDS {
                    let own = kind(&format!("kind-{writer}-{n}"));
                    policies.set(
                        own,
                        Policy::AutoPromote {
                            threshold: n as u64,
                        },
                    );
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..2_000 {
                policies.set(toggled.clone(), Policy::AlwaysValue);
                policies.set(toggled.clone(), Policy::AlwaysReference);
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    // One of the two that it ever has, never the default one.
                    let found = policies.get(&toggled);
                    assert!(matches!(
                        found,
                        Policy::AlwaysValue | Policy::AlwaysReference
                    ));
                    let session = policies.place(Some(&kind("session_state")), 1);
                    assert_eq!(session, Placement::Reference);
                }
            });
        }
    });
    for writer in 0..3 {
        for n in 0..KINDS {
            let found = policies.get(&kind(&format!("kind-{writer}-{n}")));
            assert_eq!(
                found,
                Policy::AutoPromote {
                    threshold: n as u64
                }
            );
        }
    }
}

/// Bytes that no compression shortens.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// A payload of more than 16,384 bytes was replaced by `{truncated, original_bytes, preview, note}`.
#[tokio::test]
async fn bb13_no_payload_is_cut() {
    let disk = Disk::new();
    for backend in [memory().await, disk.open().await] {
        let mail = mail(&backend, MailboxOptions::default()).await;
        for size in [10_240, 10_241, 16_384, 16_385, 3_000_000] {
            let payload = Payload::bytes(noise(size));
            mail.send(mail.letter("a", payload.clone())).await.unwrap();
            let got = wait_for(&mail, "a").await;
            assert!(got.message().payload == payload, "all {size} bytes");
            assert_eq!(got.reference().is_some(), size > 10_240, "{size}");
            mail.messenger().ack(&got).await.unwrap();
        }
    }
}

/// The same of what was written as JSON, and of kinds that always travel inline.
#[tokio::test]
async fn bb13_no_json_is_cut() {
    let disk = Disk::new();
    let backend = disk.open().await;
    let mail = mail(&backend, MailboxOptions::default()).await;
    let rows: Vec<(u32, String)> = (0..5_000).map(|n| (n, format!("row {n}"))).collect();
    for kind in [None, Some(kind("tool_result")), Some(kind("control"))] {
        let letter = Message {
            kind,
            ..mail.letter("a", json_payload(&rows).unwrap())
        };
        mail.send(letter).await.unwrap();
        let got = wait_for(&mail, "a").await;
        assert_eq!(got.json::<Vec<(u32, String)>>().unwrap(), rows);
        mail.messenger().ack(&got).await.unwrap();
    }
}
