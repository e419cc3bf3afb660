use std::sync::atomic::AtomicUsize;
use std::thread;

use serde::ser::SerializeSeq;

use super::*;

fn kind(name: &str) -> Kind {
    Kind::new(name).unwrap()
}

#[test]
fn b65_the_built_in_kinds_are_there_from_the_start() {
    let policies = PolicyManager::default();
    for name in ["session_state", "workflow_context", "collaboration_state"] {
        assert_eq!(policies.place(Some(&kind(name)), 1), Placement::Reference);
    }
    for name in ["control", "pattern_ref"] {
        let placed = policies.place(Some(&kind(name)), 1 << 20);
        assert_eq!(placed, Placement::Inline);
    }
}

#[test]
fn b64_a_size_is_promoted_when_it_is_strictly_greater() {
    for threshold in [1_024, Policy::THRESHOLD] {
        let policies = PolicyManager::uniform(Policy::AutoPromote { threshold });
        let size = threshold as usize;
        assert_eq!(policies.place(None, size), Placement::Inline);
        assert_eq!(policies.place(None, size + 1), Placement::Reference);
        let tool = kind("tool_result");
        assert_eq!(policies.place(Some(&tool), size), Placement::Inline);
        assert_eq!(policies.place(Some(&tool), size + 1), Placement::Reference);
    }
}

#[test]
fn forced_comes_before_the_kinds_policy_and_that_before_the_default() {
    let (policies, tool) = (PolicyManager::uniform(Policy::AlwaysValue), kind("tool"));
    let placed = |size| policies.place(Some(&tool), size);
    assert_eq!(placed(1 << 30), Placement::Inline);
    policies.set(tool.clone(), Policy::AutoPromote { threshold: 5 });
    assert_eq!(
        (placed(5), placed(6)),
        (Placement::Inline, Placement::Reference)
    );
    assert_eq!(policies.get(&tool), Policy::AutoPromote { threshold: 5 });
    policies.force(tool.clone(), Placement::Inline);
    assert_eq!(placed(6), Placement::Inline);
    assert_eq!(policies.forced(&tool), Some(Placement::Inline));
    policies.unforce(&tool);
    policies.unset(&tool);
    policies.set_default(Policy::AlwaysReference);
    assert_eq!(placed(1), Placement::Reference);
    assert_eq!(policies.get(&tool), Policy::AlwaysReference);
    assert!(policies.rules.lock().is_empty(), "no rule is left behind");
}

#[test]
fn empty_content_is_never_promoted() {
    let policies = PolicyManager::uniform(Policy::AlwaysReference);
    assert_eq!(policies.place(None, 0), Placement::Inline);
    assert_eq!(Policy::AlwaysReference.place(1), Placement::Reference);
}

#[test]
fn a_reference_stays_one() {
    let policies = PolicyManager::uniform(Policy::AlwaysValue);
    let reference = statehouse_contracts::Reference {
        id: statehouse_contracts::ReferenceId::of(b"x"),
        size: 1,
        content_type: statehouse_contracts::ContentType::BYTES,
    };
    let placed = policies.place_payload(None, &Payload::Reference(reference));
    assert_eq!(placed, Placement::Reference);
    let placed = policies.place_payload(None, &Payload::text("x"));
    assert_eq!(placed, Placement::Inline);
}

/// A sequence that counts how many of its items were serialized.
struct Counted<'a>(&'a AtomicUsize);

impl Serialize for Counted<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut items = serializer.serialize_seq(Some(100_000))?;
        for _ in 0..100_000 {
            self.0.fetch_add(1, Ordering::Relaxed);
            items.serialize_element("0123456789")?;
        }
        items.end()
    }
}

#[test]
fn json_is_not_serialized_past_the_threshold() {
    let policies = PolicyManager::default();
    let items = AtomicUsize::new(0);
    let placed = policies.place_json(None, &Counted(&items)).unwrap();
    assert_eq!(placed, Placement::Reference);
    assert!(items.load(Ordering::Relaxed) <= 10_240 / 13 + 2);
    items.store(0, Ordering::Relaxed);
    for name in ["session_state", "control"] {
        let placed = policies.place_json(Some(&kind(name)), &Counted(&items));
        placed.unwrap();
    }
    assert_eq!(items.load(Ordering::Relaxed), 0, "the size does not matter");
}

#[test]
fn json_is_measured_as_it_is_sent() {
    for len in [8, 9, 10, 11] {
        let text = "x".repeat(len);
        let size = serde_json::to_vec(&text).unwrap().len();
        let policies = PolicyManager::uniform(Policy::AutoPromote { threshold: 11 });
        assert_eq!(
            policies.place_json(None, &text).unwrap(),
            policies.place(None, size)
        );
    }
    let unwritable = std::collections::HashMap::from([((1, 2), 3)]);
    let error = PolicyManager::default().place_json(None, &unwritable);
    let error = error.unwrap_err();
    assert_eq!(
        error.kind(),
        statehouse_contracts::ErrorKind::InvalidArgument
    );
}

#[test]
fn b67_rules_change_while_others_read() {
    let policies = PolicyManager::default();
    let tool = kind("tool_result");
    thread::scope(|scope| {
        for writer in 0..4 {
            let (policies, own) = (&policies, kind(&format!("kind-{writer}")));
            scope.spawn(move || {
                for threshold in 1..=500 {
                    policies.set(own.clone(), Policy::AutoPromote { threshold });
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..10_000 {
                assert_eq!(policies.place(Some(&tool), 10_241), Placement::Reference);
            }
        });
    });
    for writer in 0..4 {
        let last = policies.get(&kind(&format!("kind-{writer}")));
        assert_eq!(
            last,
            Policy::AutoPromote { threshold: 500 },
            "no update is lost"
        );
    }
}

#[test]
fn config_takes_the_known_names_and_no_others() {
    let config: PolicyConfig = serde_json::from_str(
        r#"{"auto_promote": {"threshold": 2048}, "policies": {"always_value": ["beat"]}}"#,
    )
    .unwrap();
    let policies = PolicyManager::new(&config);
    assert_eq!(policies.place(None, 2_049), Placement::Reference);
    assert_eq!(
        policies.place(Some(&kind("beat")), 9_999_999),
        Placement::Inline
    );
    let session = kind("session_state");
    assert_eq!(policies.place(Some(&session), 1), Placement::Reference);
    assert!(serde_json::from_str::<PolicyConfig>(r#"{"auto_promot": {}}"#).is_err());

    let off: PolicyConfig =
        serde_json::from_str(r#"{"auto_promote": {"enabled": false}}"#).unwrap();
    let placed = PolicyManager::new(&off).place(None, 1 << 40);
    assert_eq!(placed, Placement::Inline, "off means off");
}
