//! `statehouse doctor`

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use statehouse_config::duration_text;
use statehouse_contracts::{
    Backend, ConsumerCapability, Durability, Error, ErrorKind, Fencing, ProducerCapability,
    ReferenceCapability, Result, Scope, StateCapability, TaskCapability, Wake,
};

use super::{Desk, Output};

/// Reaches every backend of the desk and says what it can do.
pub(super) async fn run(desk: &Desk, output: &Output) -> Result<()> {
    let mut reports = Vec::new();
    for (roles, backend) in desk.backends() {
        reports.push(examine(&roles, &backend, desk.scope()).await);
    }
    if output.is_json() {
        let documents: Vec<Value> = reports.iter().map(BackendReport::document).collect();
        output.document(&documents)?;
    } else {
        let texts: Vec<String> = reports.iter().map(BackendReport::text).collect();
        output.text(&texts.join("\n\n"))?;
    }
    match reports.into_iter().find_map(|report| report.problem) {
        Some(problem) => Err(problem),
        None => Ok(()),
    }
}

struct BackendReport {
    name: String,
    roles: String,
    reached_in: Duration,
    facts: Vec<(String, String)>,
    problem: Option<Error>,
}

async fn examine(
    roles: &[&'static str],
    backend: &Arc<dyn Backend>,
    scope: &Scope,
) -> BackendReport {
    let started = Instant::now();
    let info = tokio::time::timeout(Duration::from_secs(10), backend.info()).await;
    let reached_in = started.elapsed();
    let (name, joined) = (backend.name().to_owned(), roles.join(", "));
    let info = info.unwrap_or_else(|_| {
        Err(Error::new(
            ErrorKind::Timeout,
            format!("{name} did not answer within 10 s"),
        ))
    });
    match info {
        Err(problem) => BackendReport {
            name,
            roles: joined,
            reached_in,
            facts: Vec::new(),
            problem: Some(problem),
        },
        Ok(info) => {
            let mut facts = vec![("server".to_owned(), info.server)];
            facts.extend(info.facts);
            facts.extend(capabilities(roles, backend, scope).await);
            BackendReport {
                name,
                roles: joined,
                reached_in,
                facts,
                problem: None,
            }
        }
    }
}

/// What each role that the backend has can do, in words; and what it is to do here but cannot.
async fn capabilities(
    roles: &[&'static str],
    backend: &Arc<dyn Backend>,
    scope: &Scope,
) -> Vec<(String, String)> {
    let (producer, consumer) = (backend.producer(scope).await, backend.consumer(scope).await);
    let (states, stacks) = (backend.state(scope).await, backend.tasks(scope).await);
    let contents = backend.references(scope).await;
    let facts = [
        (
            "sends",
            "messages",
            producer.map(|role| sends(role.capability())),
        ),
        (
            "receives",
            "messages",
            consumer.map(|role| receives(role.capability())),
        ),
        (
            "state",
            "state",
            states.map(|role| state(role.capability())),
        ),
        (
            "tasks",
            "tasks",
            stacks.map(|role| tasks(role.capability())),
        ),
        (
            "references",
            "references",
            contents.map(|role| references(role.capability())),
        ),
    ];
    facts
        .into_iter()
        .filter_map(|(name, role, can)| {
            let fact = match can {
                Ok(fact) => fact,
                Err(error) if error.kind() != ErrorKind::Unsupported => error.to_string(),
                Err(_) if roles.contains(&role) => {
                    format!("NOT on this backend: name another one in backends.{role}")
                }
                Err(_) => return None,
            };
            Some((name.to_owned(), fact))
        })
        .collect()
}

fn sends(can: ProducerCapability) -> String {
    let window = |window: Duration| format!("repeats recognised for {}", duration_text(window));
    let dedup = can
        .dedup_window
        .map_or("repeats not recognised".to_owned(), window);
    let delays = if can.max_delay.is_some() {
        "delays"
    } else {
        "no delays"
    };
    let size = can.max_payload;
    format!(
        "{}; {dedup}; {delays}; payloads up to {size} bytes",
        durability(can.durability)
    )
}

fn receives(can: ConsumerCapability) -> String {
    let keys = if can.ordering_keys {
        "ordering keys"
    } else {
        "no ordering keys"
    };
    let acks = match can.ack_confirmed {
        true => "acks are final",
        false => "acked messages may come back after a crash",
    };
    let (priorities, fenced) = (can.priorities, fencing(can.fencing));
    format!(
        "{keys}; {priorities} priorities; {acks}; {fenced}; {}",
        wake(can.wake)
    )
}

fn state(can: StateCapability) -> String {
    let (durable, size) = (durability(can.durability), can.max_data);
    format!("{durable}; records up to {size} bytes; {}", wake(can.wake))
}

fn tasks(can: TaskCapability) -> String {
    let (durable, fenced) = (durability(can.durability), fencing(can.fencing));
    format!("{durable}; {fenced}; nesting up to {}", can.max_nesting)
}

fn references(can: ReferenceCapability) -> String {
    let quota = can.quota.map_or("no quota".to_owned(), |quota| {
        format!("quota {quota} bytes")
    });
    let (durable, size) = (durability(can.durability), can.max_content);
    format!("{durable}; content up to {size} bytes; {quota}")
}

fn durability(durability: Durability) -> &'static str {
    match durability {
        Durability {
            node_loss: true, ..
        } => "survives the loss of a node",
        Durability {
            power_loss: true, ..
        } => "survives a loss of power",
        Durability {
            process_kill: true, ..
        } => "survives a kill of the process, not a loss of power",
        Durability { .. } => "survives nothing",
    }
}

fn fencing(fencing: Fencing) -> &'static str {
    match fencing {
        Fencing::Server => "stale leases are refused by the server",
        Fencing::Client => "stale leases are refused by this client's clock only",
    }
}

fn wake(wake: Wake) -> String {
    match wake {
        Wake::Push => "wakes at once".to_owned(),
        Wake::Poll(interval) => format!("hears other processes within {interval:?}"),
    }
}

impl BackendReport {
    fn text(&self) -> String {
        let state = match &self.problem {
            None => format!(
                "reached in {:.1} ms",
                self.reached_in.as_secs_f64() * 1000.0
            ),
            Some(problem) => format!("NOT reached: {problem}"),
        };
        let mut text = format!("{} (for {}): {state}", self.name, self.roles);
        let names = self.facts.iter().map(|(name, _)| name.chars().count());
        let width = names.max().unwrap_or(0).clamp(12, 40);
        for (name, value) in &self.facts {
            // Writing into a string cannot fail.
            let _ = write!(text, "\n  {name:<width$} {value}");
        }
        text
    }

    fn document(&self) -> Value {
        json!({
            "backend": self.name,
            "roles": self.roles,
            "reached": self.problem.is_none(),
            "problem": self.problem.as_ref().map(ToString::to_string),
            "facts": self.facts.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        })
    }
}
