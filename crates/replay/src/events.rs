//! Hears the events of a replay, and checks that each arrives, in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use statehouse_contracts::{
    Backoff, Consumer, Error, ErrorKind, GroupName, GroupSpec, Message, Pattern, Receive, Result,
    Retry,
};
use statehouse_state::StateEvent;
use tokio::task::JoinHandle;

/// Two groups of this replay alone: one hears the changes of state, one the steps.
pub(super) struct Events {
    consumer: Arc<dyn Consumer>,
    groups: Vec<GroupName>,
    heard: Arc<Mutex<Heard>>,
    drains: Vec<JoinHandle<()>>,
}

/// What has arrived, by key.
#[derive(Debug, Default)]
struct Heard {
    /// The last version, or step, of each key; a repeat counts once.
    last: HashMap<String, u64>,
    /// How many of each key arrived.
    counts: HashMap<String, u64>,
    problems: Vec<String>,
    /// Why listening ended early.
    failures: Vec<String>,
}

impl Heard {
    fn take(&mut self, key: String, number: u64) {
        match self.last.get(&key) {
            Some(last) if number <= *last => return,
            Some(last) if number != last + 1 => {
                self.problems
                    .push(format!("{key}: {number} came after {last}"));
            }
            _ => {}
        }
        self.last.insert(key.clone(), number);
        *self.counts.entry(key).or_default() += 1;
    }
}

impl Events {
    /// How long nothing may arrive before what is missing is given up.
    const PATIENCE: Duration = Duration::from_secs(30);
    const BATCH: usize = 256;

    /// Declares the groups and listens.
    pub(super) async fn listen(consumer: Arc<dyn Consumer>) -> Result<Self> {
        let unique = uuid::Uuid::now_v7();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let mut events = Self {
            consumer,
            groups: Vec::new(),
            heard,
            drains: Vec::new(),
        };
        for (name, pattern) in [("state", "state.#"), ("steps", "agents.*.step")] {
            let group = GroupName::new(format!("replay-{unique}-{name}"))?;
            let spec = GroupSpec {
                // All have the same.
                priorities: !events.consumer.capability().equal_priorities,
                max_deliveries: 100,
                backoff: Backoff::NONE,
                ..GroupSpec::new(Pattern::new(pattern)?)
            };
            events.consumer.declare(&group, &spec).await?;
            let drain = drain(
                Arc::clone(&events.consumer),
                group.clone(),
                Arc::clone(&events.heard),
            );
            events.drains.push(tokio::spawn(drain));
            events.groups.push(group);
        }
        Ok(events)
    }

    /// Waits until each of `expected`'s keys has arrived so often, then stops listening. Answers
    /// how many did, and what is missing or came out of order.
    pub(super) async fn finish(
        self,
        expected: &HashMap<String, u64>,
    ) -> Result<(u64, Vec<String>)> {
        let mut progress = (0, Instant::now());
        while self.arrived(expected) < expected.values().sum()
            && progress.1.elapsed() < Self::PATIENCE
            && !self.drains.iter().any(JoinHandle::is_finished)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let arrived = self.arrived(expected);
            if arrived > progress.0 {
                progress = (arrived, Instant::now());
            }
        }
        let arrived = self.arrived(expected);
        for drain in &self.drains {
            drain.abort();
        }
        for group in &self.groups {
            self.consumer.delete_group(group).await?;
        }
        Ok((arrived, self.problems(expected)))
    }

    fn arrived(&self, expected: &HashMap<String, u64>) -> u64 {
        let heard = self.heard.lock();
        let count =
            |(key, most): (&String, &u64)| heard.counts.get(key).copied().unwrap_or(0).min(*most);
        expected.iter().map(count).sum()
    }

    fn problems(&self, expected: &HashMap<String, u64>) -> Vec<String> {
        let heard = self.heard.lock();
        let missing = expected.iter().filter_map(|(key, most)| {
            let count = heard.counts.get(key).copied().unwrap_or(0);
            (count < *most).then(|| format!("{key}: {count} of {most} events arrived"))
        });
        let ours = |problem: &&String| expected.keys().any(|key| problem.starts_with(key.as_str()));
        let failures = heard.failures.iter().cloned();
        failures
            .chain(missing)
            .chain(heard.problems.iter().filter(ours).cloned())
            .collect()
    }
}

/// Receives and acknowledges until the group is gone.
async fn drain(consumer: Arc<dyn Consumer>, group: GroupName, heard: Arc<Mutex<Heard>>) {
    let batch = Events::BATCH.min(consumer.capability().max_receive);
    let receive = Receive::new(batch, Duration::from_secs(5));
    loop {
        let deliveries = match consumer.receive(&group, receive).await {
            Ok(deliveries) => deliveries,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Closed) => return,
            Err(error) if error.retry() == Retry::Never => {
                let problem = format!("the events of {group} cannot be received: {error}");
                heard.lock().failures.push(problem);
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the events of the replay cannot be received");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let settles: Vec<_> = deliveries.iter().map(|delivery| delivery.ack()).collect();
        for delivery in &deliveries {
            note(delivery.message(), &heard);
        }
        if let Err(error) = consumer.settle(settles).await {
            tracing::warn!(%error, "the events of the replay cannot be acknowledged");
        }
    }
}

fn note(message: &Message, heard: &Mutex<Heard>) {
    let known = StateEvent::parse(message).map(|event| (event.key.to_string(), event.version));
    match known.or_else(|_| step_of(message)) {
        Ok((key, number)) => heard.lock().take(key, number),
        Err(error) => tracing::debug!(%error, "not an event of a replay"),
    }
}

/// The run and number of a step's event.
fn step_of(message: &Message) -> Result<(String, u64)> {
    let no_step = || Error::invalid("the message is no step of a replay");
    let about: serde_json::Value =
        serde_json::from_slice(message.bytes()).map_err(|_| no_step())?;
    let run = about["run"].as_str().ok_or_else(no_step)?;
    Ok((step_key(run), about["step"].as_u64().ok_or_else(no_step)?))
}

/// The key under which the steps of a run are counted.
pub(super) fn step_key(run: &str) -> String {
    format!("steps of {run}")
}
