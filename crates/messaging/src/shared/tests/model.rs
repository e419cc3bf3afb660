//! Random operations agree with a simple model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put(usize, usize, Option<u64>),
    Create(usize),
    Delete(usize, Option<u64>),
    Get(usize),
    List,
}

fn step() -> impl Strategy<Value = Step> {
    let version = || prop::option::of(1..6_u64);
    prop_oneof![
        3 => (0..3_usize, 0..3_000_usize, version()).prop_map(|(k, n, v)| Step::Put(k, n, v)),
        1 => (0..3_usize).prop_map(Step::Create),
        2 => (0..3_usize, version()).prop_map(|(k, v)| Step::Delete(k, v)),
        2 => (0..3_usize).prop_map(Step::Get),
        1 => Just(Step::List),
    ]
}

/// Values by key, and the version each key has reached.
#[derive(Default)]
struct Model {
    live: BTreeMap<String, Vec<u8>>,
    versions: BTreeMap<String, u64>,
    events: Vec<(String, u64, bool)>,
}

impl Model {
    fn allows(&self, key: &str, precondition: Precondition) -> bool {
        match precondition {
            Precondition::None => true,
            Precondition::Absent => !self.live.contains_key(key),
            Precondition::Version(n) => {
                self.live.contains_key(key) && self.versions.get(key) == Some(&n)
            }
        }
    }

    fn write(&mut self, key: &str, value: Option<Vec<u8>>) -> u64 {
        let version = self.versions.entry(key.to_owned()).or_default();
        *version += 1;
        self.events
            .push((key.to_owned(), *version, value.is_some()));
        match value {
            Some(value) => drop(self.live.insert(key.to_owned(), value)),
            None => drop(self.live.remove(key)),
        }
        *version
    }
}

async fn put(memory: &SharedMemory, model: &mut Model, name: &str, put: PutShared) {
    let allowed = model.allows(name, put.precondition);
    let value = put.value.to_vec();
    let written = memory.put(&global(memory, name), put).await;
    assert_eq!(written.is_ok(), allowed);
    if let Ok(written) = written {
        assert_eq!(written.version, model.write(name, Some(value)));
    }
}

async fn delete(memory: &SharedMemory, model: &mut Model, name: &str, when: Precondition) {
    let deleted = memory.delete(&global(memory, name), when).await;
    match (model.live.contains_key(name), model.allows(name, when)) {
        (false, _) => assert!(!deleted.unwrap()),
        (true, false) => assert_eq!(deleted.unwrap_err().kind(), ErrorKind::Conflict),
        (true, true) => {
            assert!(deleted.unwrap());
            model.write(name, None);
        }
    }
}

async fn agrees(steps: Vec<Step>) {
    let memory = memory().await;
    let _feed = SharedFeed::start(memory.clone()).await.unwrap();
    let mut watch = memory.watch(&SharedScope::Global, "*", true).await.unwrap();
    let mut model = Model::default();
    let precondition = |version: Option<u64>| match version {
        Some(version) => Precondition::Version(version),
        None => Precondition::None,
    };
    let names = ["a", "b", "c"];
    for step in steps {
        match step {
            Step::Put(at, len, version) => {
                let value = PutShared::new(vec![b'x'; len]).when(precondition(version));
                put(&memory, &mut model, names[at], value).await;
            }
            Step::Create(at) => {
                let value = PutShared::new("new").when(Precondition::Absent);
                put(&memory, &mut model, names[at], value).await;
            }
            Step::Delete(at, version) => {
                delete(&memory, &mut model, names[at], precondition(version)).await;
            }
            Step::Get(at) => {
                let key = global(&memory, names[at]);
                let got = memory.get(&key).await.unwrap();
                assert_eq!(
                    got.as_ref().map(|got| got.value.to_vec()),
                    model.live.get(names[at]).cloned()
                );
                if let Some(peeked) = memory.peek(&key) {
                    assert_eq!(Some(peeked), got);
                }
            }
            Step::List => {
                let page = memory
                    .list(&SharedScope::Global, "*", 0, None)
                    .await
                    .unwrap();
                let listed = page.items.iter();
                let listed =
                    listed.map(|(key, value)| (key.name().to_owned(), value.value.to_vec()));
                assert_eq!(listed.collect::<BTreeMap<_, _>>(), model.live);
            }
        }
    }
    let mut seen = Vec::new();
    while let Some(event) = watch.next(Duration::ZERO).await.unwrap() {
        seen.push(match event {
            SharedEvent::Put { key, value } => (key.name().to_owned(), value.version, true),
            SharedEvent::Gone { key, version, .. } => (key.name().to_owned(), version, false),
        });
    }
    assert_eq!(
        seen, model.events,
        "the watch saw every change once, in order"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn agrees_with_a_simple_model(steps in prop::collection::vec(step(), 1..30)) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().unwrap().block_on(agrees(steps));
    }
}
