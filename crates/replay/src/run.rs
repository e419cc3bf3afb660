//! What a recorded run holds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use statehouse_contracts::Bytes;

/// One recorded run of one agent.
#[derive(Clone, Debug)]
pub struct Run {
    /// Stable: the same file with the same content gives the same id. Letters, digits, `-`, `_`
    /// and `.`, at most 80.
    pub id: String,
    /// The name in the recording: a `.traj`'s file name without extension, or the field `run`.
    pub name: String,
    /// The agent's name in the recording. Different runs may share it.
    pub agent: String,
    /// The file it was read from.
    pub source: PathBuf,
    /// What the recording says about the run as a whole: exit status, model, submission.
    pub info: Option<Value>,
    /// Fields of the recording that this struct has no place for, as JSON text.
    pub extra: BTreeMap<String, Bytes>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// The conversation with the model, in order.
    pub conversation: Vec<ChatMessage>,
    /// The subtasks, in the order they were opened.
    pub subtasks: Vec<Subtask>,
    /// The order in which everything happened. Opens and closes are balanced and nested.
    pub timeline: Vec<Event>,
    /// Whether the recording reaches the run's end. A `.traj` always does.
    pub ended: bool,
    pub(super) layout: Layout,
}

/// One moment of a run; the number is the index in [`Run::steps`], [`Run::conversation`] or
/// [`Run::subtasks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message joins the conversation.
    Message(usize),
    /// A step is done, in the innermost open subtask.
    Step(usize),
    /// A subtask opens, under the innermost open one or the run itself.
    Open(usize),
    /// The innermost open subtask closes.
    Close(usize),
}

/// One step: what the agent did, and what it saw.
#[derive(Clone, Debug)]
pub struct Step {
    /// Why it did it.
    pub thought: Option<String>,
    /// What it did: usually a command.
    pub action: Option<String>,
    /// What came back. Can be long.
    pub observation: Option<String>,
    /// The model's whole answer.
    pub response: Option<String>,
    /// The state of its environment after the step. Recorded as an object or as text that holds
    /// one; text that is no JSON stays text.
    pub state: Option<Value>,
    /// How long the action took, in seconds.
    pub execution_time: Option<f64>,
    /// All other fields.
    pub extra: BTreeMap<String, Value>,
    /// The step as it was recorded: one JSON object.
    pub raw: Bytes,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// None, as beside tool calls.
    None,
    /// Text.
    Text(String),
    /// A list of parts: objects with a type, or texts.
    Parts(Vec<Value>),
}

impl Content {
    /// All text in it, parts joined by line breaks.
    pub fn text(&self) -> String {
        let text = |part: &Value| part.as_str().or(part["text"].as_str()).map(str::to_owned);
        match self {
            Content::None => String::new(),
            Content::Text(text) => text.clone(),
            Content::Parts(parts) => parts.iter().filter_map(text).collect::<Vec<_>>().join("\n"),
        }
    }
}

/// One message of the conversation with the model.
#[derive(Clone, Debug)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant`, `tool`.
    pub role: String,
    /// What it says.
    pub content: Content,
    /// The tools the model asks to call.
    pub tool_calls: Vec<Value>,
    /// All other fields.
    pub extra: BTreeMap<String, Value>,
    /// The message as it was recorded: one JSON object.
    pub raw: Bytes,
}

/// A part of a run that is a task of its own.
#[derive(Clone, Debug)]
pub struct Subtask {
    /// Its name, once per run.
    pub name: String,
    /// What it is about.
    pub title: Option<String>,
    /// The index of the subtask it was opened in; `None` directly under the run.
    pub parent: Option<usize>,
    /// What it came to.
    pub result: Option<Value>,
    /// Why it failed; `None` when it did not.
    pub error: Option<String>,
    /// The lines that open and close it, where the recording has them.
    pub raw: (Option<Bytes>, Option<Bytes>),
}

/// How the recording is put together around its steps and messages.
#[derive(Clone, Debug)]
pub(super) enum Layout {
    /// One JSON object. `has_history`: whether it has the field.
    Traj { has_history: bool },
    /// Lines: the first, and the last where there is one.
    Lines { start: Bytes, end: Option<Bytes> },
}

impl Run {
    /// The recording as it would be with these `steps` and messages in the place of its own: give
    /// what was read back from a store, and compare the JSON with the file's. Of a file with
    /// several runs, the lines of this one.
    pub fn reassemble(&self, steps: &[Bytes], conversation: &[Bytes]) -> Bytes {
        match &self.layout {
            Layout::Traj { has_history } => self.object(steps, conversation, *has_history),
            Layout::Lines { start, end } => self.lines(steps, conversation, start, end.as_ref()),
        }
        .into()
    }

    fn object(&self, steps: &[Bytes], conversation: &[Bytes], has_history: bool) -> Vec<u8> {
        let mut fields: Vec<(&str, Vec<u8>)> = self
            .extra
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_vec()))
            .collect();
        fields.push(("trajectory", list(steps)));
        if has_history || !conversation.is_empty() {
            fields.push(("history", list(conversation)));
        }
        let mut text = Vec::new();
        for (name, value) in fields {
            text.push(if text.is_empty() { b'{' } else { b',' });
            text.extend_from_slice(Value::from(name).to_string().as_bytes());
            text.push(b':');
            text.extend_from_slice(&value);
        }
        text.push(b'}');
        text
    }

    fn lines(
        &self,
        steps: &[Bytes],
        conversation: &[Bytes],
        start: &Bytes,
        end: Option<&Bytes>,
    ) -> Vec<u8> {
        let middle = self.timeline.iter().filter_map(|event| match event {
            Event::Step(index) => steps.get(*index),
            Event::Message(index) => conversation.get(*index),
            Event::Open(index) => self.subtasks[*index].raw.0.as_ref(),
            Event::Close(index) => self.subtasks[*index].raw.1.as_ref(),
        });
        let lines: Vec<&[u8]> = [start]
            .into_iter()
            .chain(middle)
            .chain(end)
            .map(|line| &line[..])
            .collect();
        let mut text = lines.join(&b'\n');
        text.push(b'\n');
        text
    }
}

fn list(items: &[Bytes]) -> Vec<u8> {
    let items: Vec<&[u8]> = items.iter().map(|item| &item[..]).collect();
    [b"[", items.join(&b',').as_slice(), b"]"].concat()
}

/// A run's stable id: its name as a word, and a hash of `parts`.
pub(super) fn run_id<'a>(name: &str, parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    const NAME: usize = 60;
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let is_kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let word: String = name
        .chars()
        .take(NAME)
        .map(|c| if is_kept(c) { c } else { '-' })
        .collect();
    let hash: String = hash.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{word}-{hash}")
}
