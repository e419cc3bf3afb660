//! Reads a run back, and compares it with what was recorded.

use serde_json::Value;
use statehouse_contracts::{
    Bytes, Error, ErrorKind, HistoryQuery, Record, ReferenceStore, Result, StateKey, StateManager,
    StateManagerExt,
};

use super::names::Names;
use super::run::Run;
use super::stored::{StoredStep, lines};

/// Why what is stored differs from the recording; `None` when it is equal.
pub(super) async fn difference(
    state: &dyn StateManager,
    references: &dyn ReferenceStore,
    names: &Names,
    run: &Run,
) -> Result<Option<String>> {
    let steps = match steps(state, references, names).await? {
        Ok(steps) => steps,
        Err(difference) => return Ok(Some(difference)),
    };
    let messages = match state.get(&names.conversation()?).await? {
        Some(record) => lines(&record.data),
        None => Vec::new(),
    };
    if (steps.len(), messages.len()) != (run.steps.len(), run.conversation.len()) {
        return Ok(Some(format!(
            "{} steps and {} messages are stored of {} and {}",
            steps.len(),
            messages.len(),
            run.steps.len(),
            run.conversation.len(),
        )));
    }
    let recorded_steps: Vec<Bytes> = run.steps.iter().map(|step| step.raw.clone()).collect();
    let recorded_messages: Vec<Bytes> = run.conversation.iter().map(|m| m.raw.clone()).collect();
    for (what, stored, recorded) in [
        ("step", &steps, &recorded_steps),
        ("message", &messages, &recorded_messages),
    ] {
        for (index, (stored, recorded)) in stored.iter().zip(recorded).enumerate() {
            if serde_json::from_slice::<Value>(stored).ok() != Some(parse(recorded)?) {
                return Ok(Some(format!("{what} {index} differs")));
            }
        }
    }
    // And as a whole, as the file has it.
    let (stored, recorded) = (
        run.reassemble(&steps, &messages),
        run.reassemble(&recorded_steps, &recorded_messages),
    );
    let equal = documents(&stored)? == documents(&recorded)?;
    Ok((!equal).then(|| "the recording as a whole differs".to_owned()))
}

/// The steps as they are stored, oldest first, with observations in place; or what is stored that
/// is not the next step.
async fn steps(
    state: &dyn StateManager,
    references: &dyn ReferenceStore,
    names: &Names,
) -> Result<Result<Vec<Bytes>, String>> {
    let key = names.task()?;
    let mut steps = Vec::new();
    for (number, record) in versions(state, &key).await?.into_iter().enumerate() {
        let stored = match StoredStep::decode(&record.data) {
            Ok(stored) if stored.step == number => stored,
            _ => {
                let version = record.version;
                return Ok(Err(format!(
                    "version {version} of {key} is not step {number}"
                )));
            }
        };
        let observation = match stored.observation {
            None => None,
            Some(id) => match references.resolve(&id).await {
                Ok(content) => Some(content.bytes),
                Err(error) if is_damage(&error) => {
                    return Ok(Err(format!("the observation of step {number}: {error}")));
                }
                Err(error) => return Err(error),
            },
        };
        steps.push(stored.join(observation.as_deref())?);
    }
    Ok(Ok(steps))
}

/// Every version of a record, oldest first.
async fn versions(state: &dyn StateManager, key: &StateKey) -> Result<Vec<Record>> {
    let mut versions = Vec::new();
    let mut query = HistoryQuery::default();
    loop {
        let page = state.history(key, query).await?;
        let Some(last) = page.last() else { break };
        query.before = Some(last.version);
        versions.extend(page);
    }
    versions.reverse();
    Ok(versions)
}

fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupted)
}

fn parse(json: &[u8]) -> Result<Value> {
    serde_json::from_slice(json)
        .map_err(|error| Error::internal("what was recorded is no JSON").with_source(error))
}

/// One document, or one of each line.
fn documents(json: &[u8]) -> Result<Vec<Value>> {
    let documents = serde_json::Deserializer::from_slice(json).into_iter::<Value>();
    let documents: std::result::Result<Vec<Value>, _> = documents.collect();
    documents.map_err(|error| Error::internal("what is stored is no JSON").with_source(error))
}
