//! Both formats: nothing is lost, every error says where.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use super::*;

const TRAJ: &str = include_str!("../samples/greeting.traj");
const LINES: &str = include_str!("../samples/parser-fix.jsonl");

fn parse_text(name: &str, text: &str) -> Result<Vec<Run>> {
    parse(Path::new(name), Bytes::copy_from_slice(text.as_bytes()))
}

fn fault(name: &str, text: &str) -> String {
    parse_text(name, text).unwrap_err().to_string()
}

fn raws(run: &Run) -> (Vec<Bytes>, Vec<Bytes>) {
    let steps = run.steps.iter().map(|step| step.raw.clone()).collect();
    let conversation = run
        .conversation
        .iter()
        .map(|message| message.raw.clone())
        .collect();
    (steps, conversation)
}

fn reassembled(run: &Run) -> String {
    let (steps, conversation) = raws(run);
    String::from_utf8(run.reassemble(&steps, &conversation).to_vec()).unwrap()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Opens and closes are nested, and every step, message and subtask appears once, in order.
fn check_timeline(run: &Run) {
    let mut open = Vec::new();
    let (mut steps, mut messages, mut opened) = (0, 0, 0);
    let expect = |counter: &mut usize, index: usize| {
        assert_eq!(*counter, index);
        *counter += 1;
    };
    for event in &run.timeline {
        match *event {
            Event::Step(index) => expect(&mut steps, index),
            Event::Message(index) => expect(&mut messages, index),
            Event::Open(index) => {
                expect(&mut opened, index);
                assert_eq!(run.subtasks[index].parent, open.last().copied());
                open.push(index);
            }
            Event::Close(index) => assert_eq!(open.pop(), Some(index)),
        }
    }
    assert!(open.is_empty());
    let all = (run.steps.len(), run.conversation.len(), run.subtasks.len());
    assert_eq!((steps, messages, opened), all);
}

#[test]
fn a_traj() {
    let runs = parse_text("dir/greeting.traj", TRAJ).unwrap();
    let run = &runs[0];
    assert_eq!(
        (runs.len(), run.name.as_str(), run.agent.as_str()),
        (1, "greeting", "fixer")
    );
    assert_eq!(run.info.as_ref().unwrap()["exit_status"], "submitted");
    assert_eq!(run.steps[0].state.as_ref().unwrap()["open_file"], "n/a");
    assert_eq!(run.steps[1].execution_time, Some(0.123_456_789_012_3));
    assert!(run.steps[1].extra.contains_key("query"));
    assert_eq!(run.subtasks[0].title.as_deref(), Some("cat greet.py"));
    assert_eq!(run.conversation[5].content.text(), "A letter is missing.");
    assert_eq!(run.conversation[5].tool_calls.len(), 1);
    check_timeline(run);
    use Event::{Close, Message, Open, Step};
    let expected = [
        [Message(0), Message(1), Message(2)].as_slice(),
        &[Open(0), Step(0), Message(3), Message(4), Close(0)],
        &[Open(1), Step(1), Message(5), Message(6), Close(1)],
    ];
    assert_eq!(run.timeline, expected.concat());
    assert_eq!(value(&reassembled(run)), value(TRAJ));
}

#[test]
fn nulls_and_absent_fields_differ() {
    for text in [
        "{\"trajectory\": []}",
        "{\"trajectory\": [], \"history\": null, \"info\": null}",
        "{\"trajectory\": [{\"thought\": null}], \"history\": []}",
    ] {
        let run = &parse_text("a.traj", text).unwrap()[0];
        assert_eq!(value(&reassembled(run)), value(text));
    }
}

#[test]
fn lines() {
    let runs = parse_text("parser-fix.jsonl", LINES).unwrap();
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    assert_eq!(names, ["parser-fix", "review"]);
    let run = &runs[0];
    assert_eq!(
        (run.steps.len(), run.conversation.len(), run.subtasks.len()),
        (3, 4, 3)
    );
    assert_eq!(run.info.as_ref().unwrap()["exit_status"], "gave_up");
    assert_eq!(run.subtasks[1].parent, Some(0));
    assert_eq!(run.subtasks[1].result.as_ref().unwrap()["line"], 41);
    assert_eq!(
        run.subtasks[2].error.as_deref(),
        Some("tests/test_parser.py: 1 failed")
    );
    assert_eq!(run.steps[1].extra["at"], "2026-01-02T03:04:05Z");
    assert_eq!((run.ended, runs[1].ended), (true, false));
    runs.iter().for_each(check_timeline);
    for run in &runs {
        let own = format!("{{\"run\":{:?},", run.name);
        let expected: Vec<&str> = LINES
            .lines()
            .filter(|line| line.starts_with(&own))
            .collect();
        assert_eq!(reassembled(run).lines().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn ids_are_stable_and_distinct() {
    let id = |name: &str, text: &str| parse_text(name, text).unwrap()[0].id.clone();
    let first = id("a/greeting.traj", TRAJ);
    assert_eq!(first, id("b/greeting.traj", TRAJ));
    assert_ne!(first, id("a/other.traj", TRAJ));
    assert_ne!(first, id("a/greeting.traj", &TRAJ.replace("Helo", "Heloo")));
    assert!(
        first.starts_with("greeting-") && first.len() < 80,
        "{first}"
    );
    let long = id(&format!("{}.traj", "né/\n".repeat(90)), TRAJ);
    assert!(
        long.is_ascii() && long.len() <= 80 && !long.contains('\n'),
        "{long}"
    );
    // Another run in the same file changes nothing for the first.
    let alone: String = LINES
        .lines()
        .filter(|line| !line.contains("\"review\""))
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(id("f.jsonl", LINES), id("f.jsonl", &alone));
}

#[test]
fn the_format_without_a_telling_name() {
    assert_eq!(parse_text("recording", LINES).unwrap().len(), 2);
    assert_eq!(parse_text("recording", TRAJ).unwrap().len(), 1);
    let crlf = LINES.replace('\n', "\r\n\r\n");
    assert_eq!(parse_text("x.ndjson", &crlf).unwrap()[0].steps.len(), 3);
}

#[test]
fn a_recording_that_stops_early() {
    let text = "{\"run\":\"r\",\"type\":\"start\"}\n\
                {\"run\":\"r\",\"type\":\"subtask\",\"open\":\"a\"}\n\
                {\"run\":\"r\",\"type\":\"subtask\",\"open\":\"b\"}\n";
    let run = &parse_text("r.jsonl", text).unwrap()[0];
    check_timeline(run);
    assert!(!run.ended);
    assert!(
        run.subtasks[0]
            .error
            .as_ref()
            .unwrap()
            .contains("stops before")
    );
    assert_eq!(reassembled(run), text);
}

#[test]
fn wrong_trajs() {
    let table = [
        ("", "a.traj: the file is empty"),
        (" \n", "the file is empty"),
        ("[]", "expected a JSON object with the field \"trajectory\""),
        (
            "{}",
            "the field \"trajectory\" is missing; expected a list of steps",
        ),
        (
            "{\"trajectory\": {}}",
            "the field \"trajectory\": expected a list, found an object",
        ),
        (
            "{\"trajectory\": [{}, 3]}",
            "step 1 (from 0): expected an object, found a number",
        ),
        (
            "{\"trajectory\": [{\"action\": 3}]}",
            "step 0 (from 0): the field \"action\": expected text, found a number",
        ),
        (
            "{\"trajectory\": [{\"execution_time\": \"x\"}]}",
            "the field \"execution_time\": expected a number, found text",
        ),
        (
            "{\"trajectory\": [{\"action\": \"\\ud800\"}]}",
            "\"action\" cannot be read",
        ),
        (
            "{\"trajectory\": [], \"history\": [{\"role\": \"user\", \"content\": 1}]}",
            "history message 0 (from 0): the field \"content\": expected text or a list of parts",
        ),
        (
            "{\"trajectory\": [], \"history\": [{\"content\": \"\"}]}",
            "the field \"role\" is missing; expected text",
        ),
        (
            "{\"trajectory\": [\n{\"action",
            "line 2, column 8: the JSON ends too early; the file seems cut off",
        ),
        ("{\"trajectory\": nul}", "not valid JSON"),
        (
            "{\"trajectory\": []} x",
            "not valid JSON: trailing characters",
        ),
    ];
    for (text, says) in table {
        let error = fault("a.traj", text);
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn wrong_lines() {
    let start = "{\"run\":\"r\",\"type\":\"start\"}\n";
    let event = |rest: &str| format!("{start}{{\"run\":\"r\",{rest}}}\n");
    let table = [
        (
            "{\"type\":\"start\"}".to_owned(),
            "line 1: the field \"run\" is missing",
        ),
        (
            "{\"run\":\"r\"}".to_owned(),
            "line 1: the field \"type\" is missing",
        ),
        (
            "{\"run\":1,\"type\":\"step\"}".to_owned(),
            "\"run\": expected text, found a number",
        ),
        (
            "{\"run\":\"r\",\"type\":\"step\"}".to_owned(),
            "the run \"r\" has not started",
        ),
        (start.repeat(2), "line 2: the run \"r\" has started already"),
        (
            event("\"type\":\"stop\""),
            "unknown type \"stop\"; expected \"start\", \"step\"",
        ),
        (
            event("\"type\":\"subtask\""),
            "either \"open\" or \"close\"",
        ),
        (
            event("\"type\":\"subtask\",\"close\":\"a\""),
            "the subtask \"a\" is not open",
        ),
        (
            event("\"type\":\"subtask\",\"open\":\"\""),
            "a name of its own",
        ),
        (
            event("\"type\":\"message\""),
            "the field \"role\" is missing",
        ),
        (
            event("\"type\":\"end\"}\n{\"run\":\"r\",\"type\":\"step\""),
            "line 3: the run \"r\" has ended already",
        ),
        (
            event("\"type\":\"subtask\",\"open\":\"a\"}\n{\"run\":\"r\",\"type\":\"end\""),
            "the run ends while the subtask \"a\" is open",
        ),
        (
            format!("{start}{{\"run\":\n{start}"),
            "line 2, column 7: the JSON ends too early; each event",
        ),
        (
            format!("{start}{{\"run\":\"r"),
            "line 2, column 9: the JSON ends too early; the file seems cut",
        ),
        (format!("{start}[1]"), "line 2: expected a JSON object"),
    ];
    for (text, says) in table {
        let error = fault("r.jsonl", &text);
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("latin1.traj"), b"{\n\"trajectory\": \"\xe9\"}").unwrap();
    let huge = fs::File::create(at("huge.traj")).unwrap();
    huge.set_len(LARGEST + 1).unwrap();
    let table = [
        ("missing.traj", ErrorKind::NotFound, "cannot be read"),
        (
            "",
            ErrorKind::InvalidArgument,
            "is a directory; name its files",
        ),
        (
            "latin1.traj",
            ErrorKind::InvalidArgument,
            "line 2 is not UTF-8 text (byte 17)",
        ),
        (
            "huge.traj",
            ErrorKind::InvalidArgument,
            "has 268435457 bytes",
        ),
    ];
    for (name, kind, says) in table {
        let error = read(&at(name)).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn deep_nesting_is_an_error() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let error = fault(
        "a.traj",
        &format!("{{\"trajectory\": [{{\"x\": {deep}}}]}}"),
    );
    assert!(
        error.contains("step 0 (from 0): the field \"x\" cannot be read"),
        "{error}"
    );
}

/// Reads every recording in the folder that `STATEHOUSE_TRAJECTORIES` names.
#[test]
fn recorded_runs_are_read_whole() {
    let Some(folder) = std::env::var_os("STATEHOUSE_TRAJECTORIES") else {
        println!("skipped: STATEHOUSE_TRAJECTORIES names no folder of .traj files");
        return;
    };
    let files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "traj")
        })
        .collect();
    assert!(!files.is_empty());
    for file in files {
        let run = read(&file).unwrap().remove(0);
        check_timeline(&run);
        assert!(!run.steps.is_empty() && !run.conversation.is_empty());
        let original = value(&fs::read_to_string(&file).unwrap());
        assert_eq!(value(&reassembled(&run)), original, "{}", file.display());
        println!(
            "{}: {} steps, {} messages, agent {}",
            run.id,
            run.steps.len(),
            run.conversation.len(),
            run.agent
        );
    }
}

/// A sample with bytes replaced, removed or repeated.
fn mutated(sample: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..3_u8);
    prop::collection::vec(edit, 1..6).prop_map(move |edits| {
        let mut bytes = sample.as_bytes().to_vec();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len().max(1));
            match how {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => bytes[at] = byte,
                _ => bytes.insert(at, b"{}[]\",:\n0"[usize::from(byte) % 9]),
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn no_mutated_traj_panics(bytes in mutated(TRAJ)) {
        if let Ok(runs) = parse(Path::new("a.traj"), bytes.into()) {
            runs.iter().for_each(check_timeline);
        }
    }

    #[test]
    fn no_mutated_lines_panic(bytes in mutated(LINES)) {
        if let Ok(runs) = parse(Path::new("a.jsonl"), bytes.into()) {
            runs.iter().for_each(check_timeline);
        }
    }
}
