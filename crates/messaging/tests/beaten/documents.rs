//! The documents and the code. Of the original's documents at least ten points were wrong: calls
//! and constructors that did not exist, defaults and keys of the configuration that were others.
//! The examples in the documentation of this crate are compiled and run; here is what they leave
//! out.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use statehouse_contracts::{Kind, Pattern};
use statehouse_messaging::{
    Bus, BusOptions, InterruptOptions, MailboxOptions, Policy, PolicyConfig, Requests, Signal,
    SignalClass, Subscribe, UnknownAgent,
};

const PAGE: &str = include_str!("../../../../docs/messaging.md");

/// The page as one line, however it is broken into lines.
fn page() -> String {
    PAGE.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn assert_says(text: &str) {
    assert!(
        page().contains(text),
        "docs/messaging.md does not say {text:?}"
    );
}

/// A number as the page writes it.
fn grouped(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

/// What stands between backticks.
fn code() -> impl Iterator<Item = &'static str> {
    PAGE.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The README named `NewAlwaysReferencePolicy`, `RegisterPolicy` and others that were nowhere.
#[test]
fn bb14_every_call_that_the_page_names_exists() {
    let mut sources = String::new();
    read_sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut sources,
    );
    let named: Vec<&str> = code()
        .filter(|name| name.starts_with(char::is_uppercase))
        .collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let (owner, call) = name
            .split_once("::")
            .map_or((name, None), |(owner, call)| (owner, Some(call)));
        let variant = [format!("    {owner},\n"), format!("    {owner}(")];
        let declared = ["struct", "enum", "trait"].map(|kind| format!("pub {kind} {owner}"));
        let known = declared
            .iter()
            .chain(&variant)
            .any(|one| sources.contains(one));
        assert!(known, "{owner} is nowhere");
        assert!(
            call.is_none_or(|call| declares(&sources, call)),
            "{name} is no call"
        );
    }
}

fn declares(sources: &str, call: &str) -> bool {
    let starts = ["pub fn", "pub async fn"];
    let ends = ["(", "<"];
    let mut calls = starts
        .iter()
        .flat_map(|start| ends.map(|end| format!("{start} {call}{end}")));
    calls.any(|one| sources.contains(&one))
}

fn read_sources(folder: &Path, into: &mut String) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, into);
        } else {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// `DefaultPolicy` promoted from 1,024 bytes, the configuration from 10,240, and which one counted
/// hung on the constructor.
#[test]
fn bb14_the_defaults_of_policies() {
    assert_says(&format!(
        "by reference when the payload is larger than {} bytes",
        grouped(Policy::THRESHOLD)
    ));
    assert_eq!(
        Policy::default(),
        Policy::AutoPromote {
            threshold: Policy::THRESHOLD
        }
    );
    let config = PolicyConfig::default();
    let listed = |kinds: &[Kind]| {
        let names = kinds.iter().map(|kind| format!("`{kind}`"));
        names.collect::<Vec<_>>().join(", ")
    };
    let by_reference = listed(&config.policies.always_reference);
    assert_says(&format!("| always by reference | {by_reference} |"));
    let by_value = listed(&config.policies.always_value);
    assert_says(&format!("| always by value | {by_value} |"));
}

/// The README documented `communication.backend` and `gc_interval`, which no code read.
#[test]
fn bb14_the_configuration_that_the_page_shows_is_read_and_is_the_default() {
    #[derive(Deserialize)]
    struct Shown {
        communication: PolicyConfig,
    }
    let (_, shown) = PAGE.split_once("```toml").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    // Unknown keys are errors.
    let shown: Shown = toml::from_str(shown).unwrap();
    assert_eq!(shown.communication, PolicyConfig::default());
}

/// A maximum of three retries was three deliveries, and a timeout of 0, "no timeout" in the
/// documents, 30 s.
#[test]
fn bb14_the_defaults_of_mail_and_requests() {
    let mail = MailboxOptions::default();
    let hours = mail.ttl.as_secs() / 3_600;
    assert_says(&format!("| ttl of a message that names none | {hours} h |"));
    let retries = mail.retries;
    assert_says(&format!(
        "| retries after the first delivery | {retries}, then"
    ));
    assert_says("3 retries are four deliveries, and 0 retries are one");
    let (first, most) = (
        mail.backoff.initial.as_secs(),
        mail.backoff.max.as_secs() / 60,
    );
    assert!(mail.backoff.factor == 2 && mail.backoff.jitter);
    assert_says(&format!(
        "| {first} s, doubling up to {most} min, with jitter |"
    ));
    let lease = mail.lease.as_secs();
    assert_says(&format!("| lease of a delivery | {lease} s |"));
    assert_eq!(mail.unknown, UnknownAgent::Refuse);
    assert_says("the validator does not know | refused");
    let timeout = Requests::TIMEOUT.as_secs();
    assert_says(&format!("and waits, {timeout} s by default"));
}

#[test]
fn bb14_the_defaults_of_the_bus() {
    let options = BusOptions::default();
    assert_says(&format!("hold {} messages by default", options.buffer));
    let everything = Subscribe::new("a", Pattern::ALL);
    let subscription = Bus::default().subscribe(everything).unwrap();
    assert_eq!(subscription.info().buffer, options.buffer);
    let minutes = options.topic_idle.as_secs() / 60;
    assert_says(&format!("kept for {minutes} minutes after"));
    let topics = grouped(options.max_topics as u64);
    assert_says(&format!("at most {topics} topics"));
}

/// Each signal stands in the row of its class, each class with its buffer.
#[test]
fn bb14_the_defaults_of_interrupts() {
    let options = InterruptOptions::default();
    let rows = [
        ("0–9", SignalClass::Critical, "stored".to_owned()),
        ("10–19", SignalClass::High, grouped(options.high as u64)),
        ("20–29", SignalClass::Normal, grouped(options.normal as u64)),
        ("30–39", SignalClass::Low, grouped(options.low as u64)),
        ("40–49", SignalClass::Learning, grouped(options.low as u64)),
    ];
    for (numbers, class, buffer) in rows {
        let start = format!("| {numbers}");
        let row = PAGE.lines().find(|line| line.starts_with(&start)).unwrap();
        assert!(row.ends_with(&format!("| {buffer} |")), "{row}");
        let names = row.split('`').skip(1).step_by(2);
        let signals: Vec<Signal> = names.map(|name| name.parse().unwrap()).collect();
        assert!(
            signals.iter().all(|signal| signal.class() == class),
            "{row}"
        );
        let first: u32 = numbers.split('–').next().unwrap().parse().unwrap();
        let expected: Vec<u32> = (first..).take(signals.len()).collect();
        let found = signals.iter().map(|signal| signal.number());
        assert_eq!(found.collect::<Vec<_>>(), expected, "in their order");
    }
    let (first, most) = (options.retry, options.retry_cap);
    assert_eq!(first, Duration::from_millis(100));
    let (first, most) = (first.as_millis(), most.as_secs());
    assert_says(&format!("after {first} ms, doubling up to {most} s"));
    let attempts = options.max_attempts;
    assert_says(&format!("a dead letter after {attempts} deliveries"));
    let timeout = options.timeout.as_secs();
    assert_says(&format!("its own class only, for {timeout} s at most"));
}
