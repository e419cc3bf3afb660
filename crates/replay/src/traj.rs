//! SWE-agent's `.traj`: one JSON object with `trajectory`, `history` and more.

use std::path::Path;

use serde_json::Value;
use serde_json::value::RawValue;
use statehouse_contracts::Bytes;

use super::fields::{self, Fields, kind, slice};
use super::run::{ChatMessage, Event, Layout, Run, Step, Subtask, run_id};

/// The agent of a recording that names none.
const AGENT: &str = "swe-agent";

/// Reads the run; the error is a sentence without the path.
pub(super) fn parse(path: &Path, content: &Bytes, text: &str) -> Result<Run, String> {
    let mut fields = Fields::new(whole(text)?);
    let steps = items(&mut fields, "trajectory")?
        .ok_or("the field \"trajectory\" is missing; expected a list of steps")?;
    let history = items(&mut fields, "history")?;
    let has_history = history.is_some();
    let steps: Vec<Step> = read_each("step", &steps, content, fields::step)?;
    let conversation: Vec<ChatMessage> = read_each(
        "history message",
        &history.unwrap_or_default(),
        content,
        fields::message,
    )?;
    let extra = fields.rest_raw(content);
    let info = match extra.get("info") {
        Some(info) => serde_json::from_slice(info)
            .map_err(|error| format!("the field \"info\" cannot be read: {error}"))?,
        None => None,
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let file_name = path.file_name().unwrap_or_default().as_encoded_bytes();
    Ok(Run {
        id: run_id(&stem, [file_name, content]),
        name: stem.into_owned(),
        agent: agent(&conversation),
        source: path.to_owned(),
        info,
        extra,
        subtasks: steps.iter().enumerate().map(subtask).collect(),
        timeline: timeline(steps.len(), &conversation),
        steps,
        conversation,
        ended: true,
        layout: Layout::Traj { has_history },
    })
}

fn whole(text: &str) -> Result<fields::Object<'_>, String> {
    fields::object(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        if error.is_eof() {
            format!("line {line}, column {column}: the JSON ends too early; the file seems cut off")
        } else if error.is_data() {
            "expected a JSON object with the field \"trajectory\"".to_owned()
        } else {
            format!("not valid JSON: {error}")
        }
    })
}

fn items<'a>(fields: &mut Fields<'a>, name: &str) -> Result<Option<Vec<&'a RawValue>>, String> {
    let read = |raw: &'a RawValue| {
        serde_json::from_str(raw.get())
            .map_err(|_| format!("the field {name:?}: expected a list, found {}", kind(raw)))
    };
    fields.raw(name).map(read).transpose()
}

fn read_each<'a, T>(
    what: &str,
    items: &[&'a RawValue],
    content: &Bytes,
    read: impl Fn(Fields<'a>, Bytes) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let one = |(index, raw): (usize, &&'a RawValue)| {
        Fields::of(raw)
            .and_then(|fields| read(fields, slice(content, raw.get())))
            .map_err(|text| format!("{what} {index} (from 0): {text}"))
    };
    items.iter().enumerate().map(one).collect()
}

fn agent(conversation: &[ChatMessage]) -> String {
    let named = |message: &ChatMessage| {
        let name = message.extra.get("agent")?.as_str()?;
        (!name.is_empty()).then(|| name.to_owned())
    };
    conversation
        .iter()
        .find_map(named)
        .unwrap_or_else(|| AGENT.to_owned())
}

/// The subtask that a step becomes.
fn subtask((index, step): (usize, &Step)) -> Subtask {
    const TITLE: usize = 80;
    let line = step
        .action
        .as_deref()
        .and_then(|action| action.lines().next());
    Subtask {
        name: format!("step-{index:04}"),
        title: line.map(|line| line.chars().take(TITLE).collect()),
        parent: None,
        result: None,
        error: None,
        raw: (None, None),
    }
}

/// Each step in its subtask, with the messages of its turn.
fn timeline(steps: usize, conversation: &[ChatMessage]) -> Vec<Event> {
    let mut turns: Vec<Vec<usize>> = vec![Vec::new(); steps + 1];
    let mut turn = 0;
    for (index, message) in conversation.iter().enumerate() {
        let is_demo = message.extra.get("is_demo").and_then(Value::as_bool);
        if message.role == "assistant" && is_demo != Some(true) {
            turn = (turn + 1).min(steps);
        }
        turns[turn].push(index);
    }
    let mut timeline = Vec::new();
    for (turn, messages) in turns.into_iter().enumerate() {
        let step = turn.checked_sub(1);
        timeline.extend(step.map(Event::Open));
        timeline.extend(step.map(Event::Step));
        timeline.extend(messages.into_iter().map(Event::Message));
        timeline.extend(step.map(Event::Close));
    }
    timeline
}
