mod model;

use futures::StreamExt;
use statehouse_contracts::{ErrorKind, Glob, Pattern, Payload};

use super::*;

fn message(topic: &str, text: &str) -> Message {
    Message::new(Topic::new(topic).unwrap(), Payload::text(text))
}

fn words(pattern: &str) -> BusPattern {
    Pattern::new(pattern).unwrap().into()
}

fn glob(pattern: &str) -> BusPattern {
    Glob::new(pattern).unwrap().into()
}

fn small(pattern: &str, buffer: usize, overflow: BusOverflow) -> Subscribe {
    Subscribe {
        buffer,
        overflow: Some(overflow),
        ..Subscribe::new("a", words(pattern))
    }
}

fn drain(subscription: &mut Subscription) -> Vec<String> {
    let messages = std::iter::from_fn(|| subscription.try_recv());
    messages
        .map(|message| String::from_utf8(message.bytes().to_vec()).unwrap())
        .collect()
}

#[test]
fn b14_a_full_buffer_drops_the_newest_and_all_is_counted() {
    let bus = Bus::default();
    let mut jobs = bus
        .subscribe(small("job", 2, BusOverflow::DropNewest))
        .unwrap();
    let sent = (0..10).map(|n| bus.publish(message("job", &n.to_string())).unwrap());
    let sent: Vec<Published> = sent.collect();
    assert_eq!(
        sent[1],
        Published {
            delivered: 1,
            dropped: 0
        }
    );
    assert_eq!(
        sent[2],
        Published {
            delivered: 0,
            dropped: 1
        }
    );
    let stats = bus.topic_stats(&Topic::new("job").unwrap()).unwrap();
    assert_eq!(
        (stats.published, stats.delivered, stats.dropped),
        (10, 2, 8)
    );
    let age = stats
        .created_at
        .unwrap()
        .duration_since(stats.last_published_at.unwrap());
    assert!(age.abs().as_secs() < 60, "{age:?}");
    let info = jobs.info();
    assert_eq!((info.waiting, info.delivered, info.dropped), (2, 2, 8));
    assert_eq!(drain(&mut jobs), ["0", "1"]);
}

#[test]
fn the_oldest_can_make_room_instead() {
    let bus = Bus::default();
    let mut jobs = bus
        .subscribe(small("job", 2, BusOverflow::DropOldest))
        .unwrap();
    for n in 0..4 {
        bus.publish(message("job", &n.to_string())).unwrap();
    }
    let published = bus.publish(message("job", "4")).unwrap();
    assert_eq!(
        published,
        Published {
            delivered: 1,
            dropped: 1
        }
    );
    assert_eq!(drain(&mut jobs), ["3", "4"]);
}

#[test]
fn the_default_buffer_is_100() {
    let bus = Bus::default();
    let jobs = bus.subscribe(Subscribe::new("a", words("#"))).unwrap();
    for _ in 0..101 {
        bus.publish(message("job", "")).unwrap();
    }
    assert_eq!((jobs.info().buffer, jobs.info().waiting), (100, 100));
}

#[test]
fn b04_globs_cross_dots_and_words_do_not() {
    let table = [
        (glob("workflow.*"), "workflow.started", true),
        (glob("workflow.*"), "workflow.step.done", true),
        (glob("workflow.*"), "workflow", false),
        (glob("*"), "a.b.c", true),
        (glob("a.?"), "a.b", true),
        (glob("a.[0-9]"), "a.7", true),
        (glob("a.[0-9]"), "a.x", false),
        (glob("a.#"), "a.b", false),
        (words("a.#"), "a.b", true),
        (words("workflow.*"), "workflow.started", true),
        (words("workflow.*"), "workflow.step.done", false),
    ];
    for (pattern, topic, hears) in table {
        let bus = Bus::default();
        let _sub = bus.subscribe(Subscribe::new("a", pattern.clone())).unwrap();
        let published = bus.publish(message(topic, "")).unwrap();
        assert_eq!(published.delivered == 1, hears, "{pattern} ~ {topic}");
    }
}

#[test]
fn every_subscription_of_an_agent_gets_its_own() {
    let bus = Bus::default();
    let subscribe = |agent, pattern| bus.subscribe(Subscribe::new(agent, pattern)).unwrap();
    let mut first = subscribe("a", words("job.*"));
    let mut second = subscribe("a", words("job.done"));
    let other = subscribe("b", words("x"));
    assert_eq!(bus.publish(message("job.done", "1")).unwrap().delivered, 2);
    assert_eq!(drain(&mut first), drain(&mut second));
    let ids: Vec<_> = bus.subscriptions(Some("a")).iter().map(|s| s.id).collect();
    assert_eq!(ids, [first.id(), second.id()]);
    assert_eq!(bus.subscriptions(None).len(), 3);
    assert_eq!(bus.subscription(other.id()).unwrap().agent, "b");
}

#[test]
fn one_message_is_shared_by_all() {
    let bus = Bus::default();
    let mut subs: Vec<_> = (0..3)
        .map(|_| bus.subscribe(Subscribe::new("a", words("#"))).unwrap())
        .collect();
    let sent = Arc::new(message("t", "x"));
    bus.publish(Arc::clone(&sent)).unwrap();
    for sub in &mut subs {
        assert!(Arc::ptr_eq(&sub.try_recv().unwrap(), &sent));
    }
}

#[test]
fn b05_every_part_of_a_filter_counts() {
    let header = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let sent = Message {
        sender: Some("ada".into()),
        headers: BTreeMap::from([("run".into(), "7".into()), ("x".into(), "y".into())]),
        ..message("t", "12345")
    };
    let everything = BusFilter::default;
    let from = |agents: &[&str]| BusFilter {
        from_agents: agents.iter().map(|&agent| agent.to_owned()).collect(),
        ..everything()
    };
    let with = |metadata| BusFilter {
        metadata,
        ..everything()
    };
    let sized = |min_size, max_size| BusFilter {
        min_size,
        max_size,
        ..everything()
    };
    let table = [
        (everything(), true),
        (from(&["bob", "ada"]), true),
        (from(&["bob"]), false),
        (with(header("run", "7")), true),
        (with(header("run", "8")), false),
        (with(header("walk", "7")), false),
        (sized(Some(5), Some(5)), true),
        (sized(Some(6), None), false),
        (sized(None, Some(4)), false),
        (
            BusFilter {
                min_size: Some(6),
                ..from(&["ada"])
            },
            false,
        ),
    ];
    for (filter, heard) in table {
        let bus = Bus::default();
        let subscribe = Subscribe {
            filter: filter.clone(),
            ..Subscribe::new("a", words("t"))
        };
        let _sub = bus.subscribe(subscribe).unwrap();
        let published = bus.publish(sent.clone()).unwrap();
        let expected = Published {
            delivered: usize::from(heard),
            dropped: 0,
        };
        assert_eq!(published, expected, "{filter:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn b13_an_expired_message_is_not_handed_out() {
    let bus = Bus::default();
    let mut jobs = bus.subscribe(Subscribe::new("a", words("#"))).unwrap();
    let short = Message {
        ttl: Some(Duration::from_secs(1)),
        ..message("job", "short")
    };
    bus.publish(short).unwrap();
    bus.publish(message("job", "for ever")).unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(drain(&mut jobs), ["for ever"]);
    assert_eq!(jobs.info().expired, 1);
}

#[tokio::test(start_paused = true)]
async fn b08_idle_topics_disappear() {
    let bus = Bus::default();
    for n in 0..1_000 {
        bus.publish(message(&format!("once.{n}"), "")).unwrap();
    }
    assert_eq!(bus.topics().len(), 1_000);
    tokio::time::advance(Duration::from_secs(200)).await;
    bus.publish(message("once.7", "")).unwrap();
    tokio::time::advance(Duration::from_secs(101)).await;
    assert_eq!(bus.topics(), [Topic::new("once.7").unwrap()]);
    let gone = bus.topic_stats(&Topic::new("once.8").unwrap()).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert_eq!(gone.message(), "topic not found: once.8");
}

#[test]
fn topics_are_bounded() {
    let bus = Bus::new(BusOptions {
        max_topics: 100,
        ..BusOptions::default()
    });
    for n in 0..10_000 {
        bus.publish(message(&format!("once.{n}"), "")).unwrap();
    }
    let topics = bus.topics();
    assert!((1..=101).contains(&topics.len()), "{}", topics.len());
    assert!(
        topics.contains(&Topic::new("once.9999").unwrap()),
        "the newest stays"
    );
}

#[test]
fn b09_statistics_count_who_listens_by_a_wildcard() {
    let bus = Bus::default();
    let topic = Topic::new("job.7").unwrap();
    let unknown = bus.topic_stats(&topic).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    let by_words = bus.subscribe(Subscribe::new("a", words("job.*"))).unwrap();
    let by_glob = bus.subscribe(Subscribe::new("a", glob("j*"))).unwrap();
    let before = bus.topic_stats(&topic).unwrap();
    assert_eq!(
        (before.subscribers, before.published, before.created_at),
        (2, 0, None)
    );
    bus.publish(message("job.7", "")).unwrap();
    assert_eq!(bus.topic_stats(&topic).unwrap().subscribers, 2);
    drop((by_words, by_glob));
    assert_eq!(bus.topic_stats(&topic).unwrap().subscribers, 0);
}

#[tokio::test]
async fn b07_unsubscribing_hands_out_the_rest_and_ends() {
    let bus = Bus::default();
    let mut jobs = bus.subscribe(Subscribe::new("a", words("job"))).unwrap();
    bus.publish(message("job", "1")).unwrap();
    bus.unsubscribe(jobs.id()).unwrap();
    assert_eq!(
        bus.publish(message("job", "2")).unwrap(),
        Published::default()
    );
    assert_eq!(jobs.next().await.unwrap().bytes(), b"1");
    assert!(jobs.next().await.is_none());
    let again = bus.unsubscribe(jobs.id()).unwrap_err();
    assert_eq!(
        again.to_string(),
        format!("subscription not found: {}", jobs.id())
    );
}

#[tokio::test]
async fn b11_a_notification_is_remembered_once() {
    let bus = Bus::default();
    let mut subs = [words("a"), words("b")]
        .map(|pattern| bus.subscribe(Subscribe::new("x", pattern)).unwrap());
    let notify = Arc::new(Notify::new());
    for sub in &subs {
        bus.notify(sub.id(), Some(Arc::clone(&notify))).unwrap();
    }
    bus.publish(message("a", "1")).unwrap();
    bus.publish(message("b", "2")).unwrap();
    notify.notified().await;
    let again = tokio::time::timeout(Duration::from_millis(10), notify.notified()).await;
    assert!(again.is_err(), "two messages are one signal");
    assert_eq!(subs.each_mut().map(drain), [["1"], ["2"]]);
    bus.notify(subs[0].id(), None).unwrap();
    bus.publish(message("a", "3")).unwrap();
    let ended = tokio::time::timeout(Duration::from_millis(10), notify.notified()).await;
    assert!(ended.is_err());
}

#[tokio::test]
async fn b12_close_ends_everything_and_later_calls_say_so() {
    let bus = Bus::default();
    let mut jobs = bus.subscribe(Subscribe::new("a", words("#"))).unwrap();
    let waiting = tokio::spawn(async move { jobs.recv().await });
    bus.close();
    bus.close();
    assert!(waiting.await.unwrap().is_none());
    let refused = [
        bus.publish(message("t", "")).unwrap_err(),
        bus.subscribe(Subscribe::new("a", words("#"))).unwrap_err(),
    ];
    assert!(
        refused
            .iter()
            .all(|error| error.kind() == ErrorKind::Closed)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_always_told_of_the_end() {
    for _ in 0..2_000 {
        let bus = Bus::default();
        let mut jobs = bus.subscribe(Subscribe::new("a", words("#"))).unwrap();
        let waiting = tokio::spawn(async move { while jobs.recv().await.is_some() {} });
        bus.publish(message("t", "")).unwrap();
        bus.close();
        let ended = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        ended.expect("it ends").unwrap();
    }
}

#[test]
fn bb3_publishing_while_it_closes_is_no_panic() {
    for _ in 0..200 {
        let bus = Bus::default();
        let _subs: Vec<_> = (0..3)
            .map(|_| bus.subscribe(Subscribe::new("a", words("#"))).unwrap())
            .collect();
        std::thread::scope(|scope| {
            scope.spawn(|| while bus.publish(message("t", "")).is_ok() {});
            scope.spawn(|| bus.close());
        });
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let bus = Bus::default();
    let nobody = bus.subscribe(Subscribe::new("", words("#"))).unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::InvalidArgument);
    let huge = Subscribe {
        buffer: usize::MAX,
        ..Subscribe::new("a", words("#"))
    };
    assert_eq!(
        bus.subscribe(huge).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    let delayed = Message {
        delay: Duration::from_secs(1),
        ..message("t", "")
    };
    assert_eq!(
        bus.publish(delayed).unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_drains_misses_nothing_and_keeps_the_order() {
    let bus = Bus::default();
    let mut subscription = bus.subscribe(Subscribe::new("a", words("n.*"))).unwrap();
    let reader = tokio::spawn(async move {
        let mut seen: Vec<u32> = Vec::new();
        while let Some(message) = subscription.recv().await {
            seen.push(
                std::str::from_utf8(message.bytes())
                    .unwrap()
                    .parse()
                    .unwrap(),
            );
        }
        (seen, subscription.info())
    });
    let mut dropped = 0;
    for n in 0..20_000 {
        dropped += bus.publish(message("n.x", &n.to_string())).unwrap().dropped;
        if n % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    bus.close();
    let (seen, info) = reader.await.unwrap();
    assert_eq!(seen.len() + dropped, 20_000);
    assert!(seen.is_sorted_by(|a, b| a < b));
    let counted = (info.delivered as usize, info.dropped as usize);
    assert_eq!(counted, (seen.len(), dropped));
}

#[test]
fn nothing_is_left_of_short_lived_subscriptions() {
    let bus = Bus::default();
    for n in 0..2_000 {
        let pattern = words(&format!("job.{n}.*"));
        let mut sub = bus.subscribe(Subscribe::new("a", pattern)).unwrap();
        bus.publish(message("job.hot", "")).unwrap();
        bus.publish(message(&format!("job.{n}.x"), "")).unwrap();
        assert!(sub.try_recv().is_some());
    }
    bus.tidy();
    let subscriptions = bus.0.subscriptions.read();
    assert!(subscriptions.all.is_empty() && subscriptions.routes.is_empty());
    let held = bus.0.topics.iter().map(|route| route.subscribers.len());
    assert_eq!(held.sum::<usize>(), 0, "no route holds who is gone");
}
