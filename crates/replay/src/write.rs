//! Writes one run: state, conversation, references and events.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;
use statehouse_contracts::{
    Bytes, ContentType, ErrorKind, Kind, Message, OpId, Operation, Payload, Precondition,
    PutContent, ReferenceKind, ReferenceStore, Result, StateKey, StateManager, StateManagerExt,
    Transaction, Write,
};

use super::names::Names;
use super::stored::{StoredStep, line};
use super::{Run, Tally};

/// Writes the state of one run, each thing once: what is there from an earlier replay, also from
/// one that was killed half way, is passed over by its version.
pub(super) struct Writer<'a> {
    pub(super) state: &'a dyn StateManager,
    pub(super) references: &'a dyn ReferenceStore,
    pub(super) names: &'a Names,
    pub(super) inline: usize,
    pub(super) latencies: &'a Mutex<Vec<Duration>>,
    pub(super) tally: Tally,
    /// The versions that the records had when this replay began.
    had_task: u64,
    had_conversation: u64,
}

impl<'a> Writer<'a> {
    pub(super) async fn new(
        state: &'a dyn StateManager,
        references: &'a dyn ReferenceStore,
        names: &'a Names,
        inline: usize,
        latencies: &'a Mutex<Vec<Duration>>,
    ) -> Result<Self> {
        let version = async |key: StateKey| -> Result<u64> {
            Ok(state.get(&key).await?.map_or(0, |record| record.version))
        };
        let had_task = version(names.task()?).await?;
        let had_conversation = version(names.conversation()?).await?;
        Ok(Self {
            state,
            references,
            names,
            inline,
            latencies,
            tally: Tally::default(),
            had_task,
            had_conversation,
        })
    }

    /// Whether an earlier replay wrote all of it.
    pub(super) fn had_everything(&self, run: &Run) -> bool {
        self.had_task >= run.steps.len() as u64
            && self.had_conversation >= run.conversation.len() as u64
    }

    /// The agent of the run: the first thing that is written.
    pub(super) async fn agent(&mut self, run: &Run) -> Result<()> {
        let about = json!({
            "agent": run.agent, "run": run.name, "steps": run.steps.len(), "info": run.info,
        });
        let data = Bytes::from(about.to_string());
        let put =
            Write::put(self.names.agent()?, data, ContentType::JSON).when(Precondition::Absent);
        let op_id = self.names.op_id("agent", 0)?;
        self.apply(put, Vec::new(), op_id).await
    }

    /// One step: the version step + 1 of the task's record, and an event, in one transaction. Its
    /// long observation is stored first, held by the step.
    pub(super) async fn step(&mut self, run: &Run, step: usize) -> Result<()> {
        if self.had_task > step as u64 {
            return Ok(());
        }
        let (stored, observation) = StoredStep::split(step, &run.steps[step].raw, self.inline)?;
        if let Some(content) = observation {
            self.observation(step, content).await?;
        }
        let when = if step == 0 {
            Precondition::Absent
        } else {
            Precondition::Version(step as u64)
        };
        let put = Write::put(self.names.task()?, stored.encode()?, ContentType::JSON).when(when);
        let event = self.step_event(run, step)?;
        let op_id = self.names.op_id("step", step)?;
        self.apply(put, vec![event], op_id).await
    }

    /// One message: appended to the conversation.
    pub(super) async fn message(&mut self, run: &Run, index: usize) -> Result<()> {
        if self.had_conversation > index as u64 {
            return Ok(());
        }
        let data = line(&run.conversation[index].raw);
        let when = if index == 0 {
            Precondition::Absent
        } else {
            Precondition::Version(index as u64)
        };
        let write = Write {
            key: self.names.conversation()?,
            operation: Operation::Append { data },
            precondition: when,
        };
        let op_id = self.names.op_id("message", index)?;
        self.apply(write, Vec::new(), op_id).await
    }

    async fn observation(&mut self, step: usize, content: Bytes) -> Result<()> {
        let size = content.len() as u64;
        let put = PutContent {
            kind: ReferenceKind::ToolResult,
            content_type: ContentType::TEXT,
            ..PutContent::new(content).held_by(self.names.holder(step)?)
        };
        self.references.put(put).await?;
        self.tally.references += 1;
        self.tally.reference_bytes += size;
        Ok(())
    }

    fn step_event(&self, run: &Run, step: usize) -> Result<Message> {
        let about = json!({ "run": self.names.id, "step": step, "action": run.steps[step].action });
        let mut event = Message::new(self.names.step_topic()?, Payload::json(about.to_string()));
        event.kind = Some(Kind::new("agent.step")?);
        event.sender = Some(self.names.id.clone());
        event.ordering_key = Some(self.names.id.clone());
        event.idempotency_key = Some(self.names.op_id("event", step)?.to_string());
        // The same step is the same message, so that a repeat of its transaction is one.
        event.id = message_id(event.idempotency_key.as_deref().unwrap_or_default());
        Ok(event)
    }

    /// Applies one write. A conflict means that a replay beside this one was faster.
    async fn apply(&mut self, write: Write, messages: Vec<Message>, op_id: OpId) -> Result<()> {
        let bytes = match &write.operation {
            Operation::Put { data, .. } | Operation::Append { data } => data.len() as u64,
            _ => 0,
        };
        let op_id = Some(op_id);
        let transaction = Transaction {
            messages,
            op_id,
            ..Transaction::of(write)
        };
        let started = Instant::now();
        match self.state.apply(transaction).await {
            Ok(applied) if applied.replayed => Ok(()),
            Ok(applied) => {
                self.latencies.lock().push(started.elapsed());
                self.tally.versions += 1;
                self.tally.states += u64::from(applied.versions.first() == Some(&1));
                self.tally.inline_bytes += bytes;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A message id made from a name.
fn message_id(name: &str) -> statehouse_contracts::MessageId {
    let digest = statehouse_contracts::ReferenceId::of(name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.digest()[..16]);
    statehouse_contracts::MessageId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}
