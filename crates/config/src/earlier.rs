//! Environment names of earlier tools, so that their deployments need no new ones.
//!
//! They fill keys that nothing else sets: file, `STATEHOUSE_*` and flags all win over them, and an
//! empty variable counts as absent.
//!
//! | variable | key |
//! |---|---|
//! | `ROCKETMQ_NAMESERVER_ADDRS` (comma list) | `backends.messages = "rocketmq://a:9876?nameserver=b:9876"` |
//! | `ROCKETMQ_STATE_TOPIC`, `ROCKETMQ_PRODUCER_GROUP`, `ROCKETMQ_CONSUMER_GROUP`, beside the first | its parameters `topic`, `producer_group`, `consumer_group` |
//! | `RABBITMQ_HOST`, `RABBITMQ_PORT` (5672), `RABBITMQ_USER` (guest), `RABBITMQ_PASS` (guest), `RABBITMQ_VHOST` (`/`) | `backends.messages = "amqp://user:***@host:port/vhost"` |
//! | `LOOM_COMMUNICATION_STORE_BACKEND` (`memory`, `sqlite`, `redis`), `LOOM_COMMUNICATION_STORE_PATH` (`./loom.db`), `LOOM_COMMUNICATION_STORE_REDIS_URL` | `backends.references` |
//! | `LOOM_COMMUNICATION_GC_ENABLED`, `LOOM_COMMUNICATION_GC_STRATEGY` (`ref_counting`, `manual`), `LOOM_COMMUNICATION_GC_INTERVAL` (seconds) | `references.gc_interval`; never when it is off or manual |
//! | `LOOM_COMMUNICATION_AUTO_PROMOTE_ENABLED`, `LOOM_COMMUNICATION_AUTO_PROMOTE_THRESHOLD`, `LOOM_COMMUNICATION_POLICIES_ALWAYS_REFERENCE`, `LOOM_COMMUNICATION_POLICIES_ALWAYS_VALUE` | the same under `communication` |
//!
//! A file may have loom's tables `[communication.store]` and `[communication.gc]`, with the same meaning.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::environment::Environment;
use super::problem::{Origin, Problem};
use super::schema::Values;
use super::value::Raw;

const MESSAGES: &str = "backends.messages";

/// Fills keys that nothing else set.
pub(super) fn take(environment: &Environment, values: &mut Values, problems: &mut Vec<Problem>) {
    let mut names = Names {
        environment,
        problems,
    };
    names.messages(values);
}

fn fill(values: &mut Values, path: &str, text: String, name: &str) {
    if !values.is_set(path) {
        let origin = Origin::Environment(name.to_owned());
        values.set(path.to_owned(), Raw::Word(text), origin);
    }
}

struct Names<'a> {
    environment: &'a Environment,
    problems: &'a mut Vec<Problem>,
}

impl Names<'_> {
    fn get(&mut self, name: &str) -> Option<String> {
        match self.environment.text(name) {
            Ok(text) => text
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .map(str::to_owned),
            Err(text) => {
                self.problems.push(Problem::general(text));
                None
            }
        }
    }

    fn messages(&mut self, values: &mut Values) {
        if values.is_set(MESSAGES) {
            return;
        }
        let rocketmq = self.get("ROCKETMQ_NAMESERVER_ADDRS");
        let rabbitmq = self.get("RABBITMQ_HOST");
        match (rocketmq, rabbitmq) {
            (Some(_), Some(_)) => self.problems.push(Problem::general(
                "both ROCKETMQ_NAMESERVER_ADDRS and RABBITMQ_HOST are set; \
                 set backends.messages to say which carries the messages",
            )),
            (Some(list), None) => {
                let url = self.rocketmq_url(&list);
                fill(values, MESSAGES, url, "ROCKETMQ_NAMESERVER_ADDRS");
            }
            (None, Some(host)) => {
                let url = self.rabbitmq_url(&host);
                fill(values, MESSAGES, url, "RABBITMQ_HOST");
            }
            (None, None) => {}
        }
    }

    fn rocketmq_url(&mut self, list: &str) -> String {
        let mut servers = list
            .split([',', ';'])
            .map(str::trim)
            .filter(|server| !server.is_empty());
        let first = servers.next().unwrap_or_default();
        let mut parameters: Vec<String> = servers
            .map(|server| format!("nameserver={server}"))
            .collect();
        for (name, parameter) in [
            ("ROCKETMQ_STATE_TOPIC", "topic"),
            ("ROCKETMQ_PRODUCER_GROUP", "producer_group"),
            ("ROCKETMQ_CONSUMER_GROUP", "consumer_group"),
        ] {
            let value = self.get(name);
            parameters.extend(value.map(|value| format!("{parameter}={}", encoded(&value))));
        }
        if parameters.is_empty() {
            format!("rocketmq://{first}")
        } else {
            format!("rocketmq://{first}?{}", parameters.join("&"))
        }
    }

    fn rabbitmq_url(&mut self, host: &str) -> String {
        let mut or = |name: &str, default: &str| self.get(name).unwrap_or(default.to_owned());
        let port = or("RABBITMQ_PORT", "5672");
        // Kubernetes writes the port of a service as tcp://10.0.0.1:5672.
        let port = port.rsplit(':').next().unwrap_or_default().to_owned();
        let user = encoded(&or("RABBITMQ_USER", "guest"));
        let password = encoded(&or("RABBITMQ_PASS", "guest"));
        let vhost = encoded(&or("RABBITMQ_VHOST", "/"));
        format!("amqp://{user}:{password}@{host}:{port}/{vhost}")
    }
}

fn encoded(text: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
    utf8_percent_encode(text, KEPT).to_string()
}
