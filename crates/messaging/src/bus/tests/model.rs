//! Random operations agree with a simple model.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Subscribe(BusPattern, usize, BusOverflow),
    Publish(usize),
    Receive(usize),
    Unsubscribe(usize),
}

const TOPICS: [&str; 4] = ["a", "a.b", "a.b.c", "b"];

fn step() -> impl Strategy<Value = Step> {
    let pattern = prop_oneof![
        prop::sample::select(vec!["a", "a.*", "a.#", "#", "*.b", "#.c"]).prop_map(words),
        prop::sample::select(vec!["a*", "*", "?", "a.[a-b]", "b"]).prop_map(glob),
    ];
    let overflow = prop::sample::select(vec![BusOverflow::DropNewest, BusOverflow::DropOldest]);
    prop_oneof![
        1 => (pattern, 1..4_usize, overflow).prop_map(|(p, n, o)| Step::Subscribe(p, n, o)),
        4 => (0..TOPICS.len()).prop_map(Step::Publish),
        3 => (0..8_usize).prop_map(Step::Receive),
        1 => (0..8_usize).prop_map(Step::Unsubscribe),
    ]
}

struct Modelled {
    real: Subscription,
    pattern: BusPattern,
    capacity: usize,
    overflow: BusOverflow,
    buffer: std::collections::VecDeque<String>,
}

impl Modelled {
    fn publish(&mut self, topic: &str, text: &str, published: &mut Published) {
        if !self.pattern.matches(&Topic::new(topic).unwrap()) {
            return;
        }
        if self.buffer.len() < self.capacity {
            self.buffer.push_back(text.to_owned());
            published.delivered += 1;
        } else if self.overflow == BusOverflow::DropOldest {
            self.buffer.pop_front();
            self.buffer.push_back(text.to_owned());
            published.delivered += 1;
            published.dropped += 1;
        } else {
            published.dropped += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn agrees_with_a_simple_model(steps in prop::collection::vec(step(), 1..60)) {
        let bus = Bus::default();
        let mut subs: Vec<Modelled> = Vec::new();
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Subscribe(pattern, capacity, overflow) => {
                    let subscribe = Subscribe {
                        buffer: capacity,
                        overflow: Some(overflow),
                        ..Subscribe::new("a", pattern.clone())
                    };
                    let real = bus.subscribe(subscribe).unwrap();
                    subs.push(Modelled { real, pattern, capacity, overflow, buffer: Default::default() });
                }
                Step::Publish(topic) => {
                    let (topic, text) = (TOPICS[topic], n.to_string());
                    let mut expected = Published::default();
                    subs.iter_mut().for_each(|sub| sub.publish(topic, &text, &mut expected));
                    prop_assert_eq!(bus.publish(message(topic, &text)).unwrap(), expected);
                }
                Step::Receive(at) if at < subs.len() => {
                    let got = subs[at].real.try_recv();
                    let got = got.map(|m| String::from_utf8(m.bytes().to_vec()).unwrap());
                    prop_assert_eq!(got, subs[at].buffer.pop_front());
                }
                Step::Unsubscribe(at) if at < subs.len() => drop(subs.remove(at)),
                Step::Receive(_) | Step::Unsubscribe(_) => {}
            }
        }
        for sub in &mut subs {
            prop_assert_eq!(drain(&mut sub.real), Vec::from(std::mem::take(&mut sub.buffer)));
        }
    }
}
