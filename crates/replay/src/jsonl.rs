//! JSON Lines of recorded runs, described in `docs/replay-format.md`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use statehouse_contracts::Bytes;

use super::fields::{self, Fields, slice};
use super::run::{Event, Layout, Run, Subtask, run_id};

const TYPES: &str = "\"start\", \"step\", \"message\", \"subtask\" or \"end\"";

/// Reads all runs, in the order they start; the error is a sentence without the path.
pub(super) fn parse(path: &Path, content: &Bytes, text: &str) -> Result<Vec<Run>, String> {
    let mut runs: Vec<Recording> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let last = text.trim_end().lines().count();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let number = index + 1;
        let object =
            fields::object(line).map_err(|error| bad_line(number, number == last, &error))?;
        let fields = Fields::new(object);
        take(path, slice(content, line), fields, &mut runs, &mut places)
            .map_err(|text| format!("line {number}: {text}"))?;
    }
    Ok(runs.into_iter().map(|run| run.finish(path)).collect())
}

fn bad_line(number: usize, is_last: bool, error: &serde_json::Error) -> String {
    let column = error.column();
    if error.is_eof() && is_last {
        format!("line {number}, column {column}: the JSON ends too early; the file seems cut off")
    } else if error.is_eof() {
        format!("line {number}, column {column}: the JSON ends too early; each event is one line")
    } else if error.is_data() {
        format!("line {number}: expected a JSON object with the fields \"run\" and \"type\"")
    } else {
        format!("line {number}, column {column}: not valid JSON: {error}")
    }
}

/// Takes one line into the run it belongs to.
fn take(
    path: &Path,
    raw: Bytes,
    mut fields: Fields<'_>,
    runs: &mut Vec<Recording>,
    places: &mut BTreeMap<String, usize>,
) -> Result<(), String> {
    let name = fields.required("run")?;
    let kind = fields.required("type")?;
    let place = places.get(&name).copied();
    if kind == "start" {
        if place.is_some() {
            return Err(format!("the run {name:?} has started already"));
        }
        places.insert(name.clone(), runs.len());
        runs.push(Recording::start(path, name, fields, raw)?);
        return Ok(());
    }
    let run = place.and_then(|place| runs.get_mut(place)).ok_or_else(|| {
        format!("the run {name:?} has not started; its first line has the type \"start\"")
    })?;
    run.take(&kind, fields, raw)
}

/// A run while its lines are read.
struct Recording {
    run: Run,
    lines: Vec<Bytes>,
    open: Vec<usize>,
}

impl Recording {
    fn start(
        path: &Path,
        name: String,
        mut fields: Fields<'_>,
        raw: Bytes,
    ) -> Result<Self, String> {
        let agent = fields.text("agent")?.filter(|agent| !agent.is_empty());
        let run = Run {
            id: String::new(),
            agent: agent.unwrap_or_else(|| name.clone()),
            name,
            source: path.to_owned(),
            info: fields.get("info", "JSON")?,
            extra: fields.rest_raw(&raw),
            steps: Vec::new(),
            conversation: Vec::new(),
            subtasks: Vec::new(),
            timeline: Vec::new(),
            ended: false,
            layout: Layout::Lines {
                start: raw.clone(),
                end: None,
            },
        };
        Ok(Self {
            run,
            lines: vec![raw],
            open: Vec::new(),
        })
    }

    fn take(&mut self, kind: &str, fields: Fields<'_>, raw: Bytes) -> Result<(), String> {
        if self.run.ended {
            return Err(format!("the run {:?} has ended already", self.run.name));
        }
        self.lines.push(raw.clone());
        match kind {
            "step" => {
                self.run.timeline.push(Event::Step(self.run.steps.len()));
                self.run.steps.push(fields::step(fields, raw)?);
            }
            "message" => {
                self.run
                    .timeline
                    .push(Event::Message(self.run.conversation.len()));
                self.run.conversation.push(fields::message(fields, raw)?);
            }
            "subtask" => self.subtask(fields, raw)?,
            "end" => self.end(fields, raw)?,
            other => return Err(format!("unknown type {other:?}; expected {TYPES}")),
        }
        Ok(())
    }

    fn subtask(&mut self, mut fields: Fields<'_>, raw: Bytes) -> Result<(), String> {
        match (fields.text("open")?, fields.text("close")?) {
            (Some(name), None) => self.open(name, fields, raw),
            (None, Some(name)) => self.close(&name, fields, raw),
            _ => Err("a subtask line has either \"open\" or \"close\" with a name".to_owned()),
        }
    }

    fn open(&mut self, name: String, mut fields: Fields<'_>, raw: Bytes) -> Result<(), String> {
        if name.is_empty() || self.run.subtasks.iter().any(|subtask| subtask.name == name) {
            return Err(format!(
                "the subtask {name:?} needs a name of its own in this run"
            ));
        }
        let index = self.run.subtasks.len();
        self.run.timeline.push(Event::Open(index));
        self.run.subtasks.push(Subtask {
            name,
            title: fields.text("title")?,
            parent: self.open.last().copied(),
            result: None,
            error: None,
            raw: (Some(raw), None),
        });
        self.open.push(index);
        Ok(())
    }

    fn close(&mut self, name: &str, mut fields: Fields<'_>, raw: Bytes) -> Result<(), String> {
        let index = self.open.pop();
        let index = index.ok_or_else(|| format!("the subtask {name:?} is not open"))?;
        let subtask = &mut self.run.subtasks[index];
        if subtask.name != name {
            let inner = &subtask.name;
            return Err(format!(
                "cannot close {name:?}: the innermost open subtask is {inner:?}"
            ));
        }
        subtask.result = fields.get::<Value>("result", "JSON")?;
        subtask.error = fields.text("error")?;
        subtask.raw.1 = Some(raw);
        self.run.timeline.push(Event::Close(index));
        Ok(())
    }

    fn end(&mut self, mut fields: Fields<'_>, raw: Bytes) -> Result<(), String> {
        if let Some(index) = self.open.last() {
            let name = &self.run.subtasks[*index].name;
            return Err(format!(
                "the run ends while the subtask {name:?} is open; close it first"
            ));
        }
        if let Some(info) = fields.get("info", "JSON")? {
            self.run.info = Some(info);
        }
        self.run.ended = true;
        if let Layout::Lines { end, .. } = &mut self.run.layout {
            *end = Some(raw);
        }
        Ok(())
    }

    /// Closes what a recording that stops early left open, and names the run.
    fn finish(mut self, path: &Path) -> Run {
        while let Some(index) = self.open.pop() {
            self.run.subtasks[index].error =
                Some("the recording stops before the subtask was closed".to_owned());
            self.run.timeline.push(Event::Close(index));
        }
        let file_name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let lines = self.lines.iter().map(|line| &line[..]);
        self.run.id = run_id(&self.run.name, [file_name].into_iter().chain(lines));
        self.run
    }
}
