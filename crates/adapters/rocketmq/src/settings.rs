//! What the brokers are set to, asked when the backend is opened: it changes what they promise.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rocketmq_protocol::code::request_code::RequestCode;
use serde::Deserialize;
use statehouse_contracts::{Durability, ErrorKind, Result};

use crate::client::Client;
use crate::request::Request;
use crate::session::Broker;

/// The broker's own default for the longest delay, in seconds.
const THREE_DAYS: u64 = 3 * 24 * 3600;

/// How late a message may come back with the key-value store for POP, and without.
const LAG_WITH_STORE: Duration = Duration::from_secs(2);
const LAG_WITHOUT: Duration = Duration::from_secs(8);

/// What the timer takes beside its precision.
const TIMER_SLACK: Duration = Duration::from_millis(200);

/// What the broker needs of its largest message beside the payload: headers, attributes, and the
/// errors that a message carries when it comes again.
const OVERHEAD: usize = 128 * 1024;

/// The settings of all masters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(Vec<BrokerSettings>);

/// One master's settings, as far as it tells them.
#[derive(Clone, Debug, Default)]
struct BrokerSettings {
    name: String,
    version: Option<String>,
    values: HashMap<String, String>,
}

impl Settings {
    /// Asks every master. One that does not tell, for want of permission, counts as set by default.
    pub(crate) async fn ask(client: &Arc<Client>) -> Result<Self> {
        let mut all = Vec::new();
        for broker in client.brokers()?.iter() {
            all.push(BrokerSettings {
                name: broker.name.to_string(),
                version: version(client, broker).await?,
                values: values(client, broker).await?,
            });
        }
        Ok(Self(all))
    }

    /// Whether the setting is on at every master; `default` where it does not say.
    fn on(&self, name: &str, default: bool) -> bool {
        let on = |broker: &BrokerSettings| match broker.values.get(name) {
            Some(value) => value == "true",
            None => default,
        };
        self.0.iter().all(on)
    }

    /// The setting's value at each master.
    fn numbers(&self, name: &str, default: u64) -> impl Iterator<Item = u64> {
        let number = move |broker: &BrokerSettings| {
            let value = broker.values.get(name)?;
            value.parse().ok()
        };
        self.0
            .iter()
            .map(move |broker| number(broker).unwrap_or(default))
    }

    fn smallest(&self, name: &'static str, default: u64) -> u64 {
        self.numbers(name, default).min().unwrap_or(default)
    }

    fn largest(&self, name: &'static str, default: u64) -> u64 {
        self.numbers(name, default).max().unwrap_or(default)
    }

    fn all_say(&self, name: &str, value: &str) -> bool {
        self.0
            .iter()
            .all(|broker| broker.values.get(name).is_some_and(|is| is == value))
    }

    /// What an accepted message survives.
    pub(crate) fn durability(&self) -> Durability {
        if self.all_say("flushDiskType", "SYNC_FLUSH") {
            Durability::DISK
        } else {
            Durability::PROCESS
        }
    }

    /// The longest delay.
    pub(crate) fn max_delay(&self) -> Option<Duration> {
        self.on("timerWheelEnable", true)
            .then(|| Duration::from_secs(self.smallest("timerMaxDelaySec", THREE_DAYS)))
    }

    /// In steps of how many milliseconds the timer goes.
    pub(crate) fn timer_precision(&self) -> Duration {
        Duration::from_millis(self.largest("timerPrecisionMs", 1_000))
    }

    /// How late a delayed message may come.
    pub(crate) fn delay_precision(&self) -> Duration {
        self.timer_precision() * 2 + TIMER_SLACK
    }

    /// Whether a delayed message can be taken back.
    pub(crate) fn recalls(&self) -> bool {
        self.on("recallMessageEnable", false)
    }

    /// How late a message may come back after its lease: sooner where leases lie in a store of their
    /// own.
    pub(crate) fn redelivery_lag(&self) -> Duration {
        if self.on("popConsumerKVServiceEnable", false) {
            LAG_WITH_STORE
        } else {
            LAG_WITHOUT
        }
    }

    /// How long a message is kept.
    pub(crate) fn retention(&self) -> Duration {
        Duration::from_secs(self.smallest("fileReservedTime", 72) * 3600)
    }

    /// The largest message in bytes, with all that belongs to it.
    pub(crate) fn max_message(&self) -> usize {
        self.smallest("maxMessageSize", 4 * 1024 * 1024) as usize
    }

    /// The largest payload in bytes.
    pub(crate) fn max_payload(&self) -> usize {
        self.max_message().saturating_sub(OVERHEAD)
    }

    /// The server and its version.
    pub(crate) fn server(&self) -> String {
        let versions: BTreeMap<&str, ()> = self
            .0
            .iter()
            .filter_map(|broker| Some((broker.version.as_deref()?, ())))
            .collect();
        let versions: Vec<&str> = versions.into_keys().collect();
        if versions.is_empty() {
            "Apache RocketMQ".to_owned()
        } else {
            format!("Apache RocketMQ {}", versions.join(", "))
        }
    }

    /// What an operator should know: each setting that matters, and what it costs as it is.
    pub(crate) fn facts(&self) -> Vec<(String, String)> {
        let names: Vec<&str> = self.0.iter().map(|broker| broker.name.as_str()).collect();
        let mut facts = vec![("brokers".to_owned(), names.join(", "))];
        if self.0.iter().any(|broker| broker.values.is_empty()) {
            facts.push((
                "settings".to_owned(),
                "a broker does not tell its settings; its defaults are assumed".to_owned(),
            ));
        }
        for setting in SETTINGS {
            facts.push((setting.name.to_owned(), setting.fact(self)));
        }
        facts
    }
}

/// A setting that changes what the broker promises.
struct Setting {
    name: &'static str,
    /// What it is when the broker does not say.
    default: &'static str,
    /// Whether this value keeps the promise.
    good: fn(&str) -> bool,
    /// What is lost otherwise.
    lost: &'static str,
}

const SETTINGS: [Setting; 9] = [
    Setting {
        name: "flushDiskType",
        default: "ASYNC_FLUSH",
        good: |value| value == "SYNC_FLUSH",
        lost: "accepted messages may be lost with the machine's power; set SYNC_FLUSH",
    },
    Setting {
        name: "popConsumerKVServiceEnable",
        default: "false",
        good: |value| value == "true",
        lost: "what is not acknowledged comes back up to 8 s late instead of 2 s; set it and \
               popConsumerKVServiceInit to true",
    },
    Setting {
        name: "timerWheelEnable",
        default: "true",
        good: |value| value == "true",
        lost: "no leases and no delays; set true",
    },
    Setting {
        name: "timerPrecisionMs",
        default: "1000",
        good: |value| value.parse().is_ok_and(|ms: u64| ms <= 100),
        lost: "delayed messages come later than need be; set 100",
    },
    Setting {
        name: "recallMessageEnable",
        default: "false",
        good: |value| value == "true",
        lost: "delayed messages cannot be cancelled; set true",
    },
    Setting {
        name: "popFromRetryProbabilityForPriority",
        default: "0",
        good: |value| value == "100",
        lost: "what is delivered again comes behind what is new; set 100",
    },
    Setting {
        name: "autoCreateTopicEnable",
        default: "true",
        good: |value| value == "false",
        lost: "a message for a deleted topic makes it again, with another number of queues; set \
               false",
    },
    Setting {
        name: "autoCreateSubscriptionGroup",
        default: "true",
        good: |value| value == "false",
        lost: "a deleted group is made again by who still receives from it; set false",
    },
    Setting {
        name: "fileReservedTime",
        default: "72",
        good: |_| true,
        lost: "",
    },
];

impl Setting {
    fn fact(&self, settings: &Settings) -> String {
        let mut values: Vec<&str> = settings
            .0
            .iter()
            .map(|broker| {
                broker
                    .values
                    .get(self.name)
                    .map_or(self.default, String::as_str)
            })
            .collect();
        values.sort_unstable();
        values.dedup();
        let shown = values.join(", ");
        if values.into_iter().all(self.good) {
            shown
        } else {
            format!("{shown}: {}", self.lost)
        }
    }
}

/// The broker's settings; none when it does not let us see them.
async fn values(client: &Arc<Client>, broker: &Broker) -> Result<HashMap<String, String>> {
    let request = Request::new(RequestCode::GetBrokerConfig);
    let answer = client.call("settings", &broker.address, request).await?;
    let answer = match answer.success("settings") {
        Ok(answer) => answer,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(HashMap::new()),
        Err(error) => return Err(error),
    };
    let text = String::from_utf8_lossy(&answer.body()).into_owned();
    Ok(text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect())
}

/// The broker's version, such as `5.5.0`.
async fn version(client: &Arc<Client>, broker: &Broker) -> Result<Option<String>> {
    let table = figures(client, broker).await?;
    let version = table.get("brokerVersionDesc");
    Ok(version.map(|text| text.trim_start_matches('V').replace('_', ".")))
}

/// What the broker tells of itself as it runs; nothing when not everybody may ask, or when it has
/// just started and has no answer yet.
pub(crate) async fn figures(
    client: &Arc<Client>,
    broker: &Broker,
) -> Result<HashMap<String, String>> {
    #[derive(Deserialize)]
    struct Table {
        table: HashMap<String, String>,
    }
    let request = Request::new(RequestCode::GetBrokerRuntimeInfo);
    let answer = client.call("figures", &broker.address, request).await?;
    match answer.success("figures") {
        Ok(answer) => Ok(answer.json::<Table>()?.table),
        Err(_) => Ok(HashMap::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Settings {
        let values = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Settings(vec![BrokerSettings {
            name: "a".to_owned(),
            version: Some("5.5.0".to_owned()),
            values,
        }])
    }

    #[test]
    fn settings_change_what_is_promised() {
        let plain = set(&[]);
        assert_eq!(plain.durability(), Durability::PROCESS);
        assert_eq!(plain.max_delay(), Some(Duration::from_secs(THREE_DAYS)));
        assert_eq!(plain.redelivery_lag(), LAG_WITHOUT);
        assert!(!plain.recalls());

        let good = set(&[
            ("flushDiskType", "SYNC_FLUSH"),
            ("popConsumerKVServiceEnable", "true"),
            ("recallMessageEnable", "true"),
            ("timerPrecisionMs", "100"),
        ]);
        assert_eq!(good.durability(), Durability::DISK);
        assert_eq!(good.redelivery_lag(), LAG_WITH_STORE);
        assert_eq!(good.delay_precision(), Duration::from_millis(400));
        assert!(good.recalls());
    }

    #[test]
    fn the_weakest_broker_counts() {
        let mut both = set(&[("flushDiskType", "SYNC_FLUSH"), ("fileReservedTime", "48")]);
        both.0.extend(set(&[("fileReservedTime", "96")]).0);
        assert_eq!(both.durability(), Durability::PROCESS);
        assert_eq!(both.retention(), Duration::from_secs(48 * 3600));
    }

    #[test]
    fn a_fact_names_what_is_lost() {
        let facts = set(&[("timerPrecisionMs", "100")]).facts();
        let fact = |name: &str| {
            let found = facts.iter().find(|(key, _)| key == name);
            found.map(|(_, text)| text.clone()).unwrap_or_default()
        };
        assert!(fact("flushDiskType").starts_with("ASYNC_FLUSH: accepted messages may be lost"));
        assert_eq!(fact("timerPrecisionMs"), "100");
        assert!(fact("autoCreateTopicEnable").contains("set false"));
    }
}
