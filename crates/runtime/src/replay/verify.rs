//! Reads a run back, and compares it with what was recorded.

use std::collections::BTreeMap;

use serde_json::Value;
use statehouse_contracts::{
    Bytes, Error, HistoryQuery, ReferenceStore, Result, StateManager, StateManagerExt,
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
    let steps = steps(state, references, names).await?;
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
    for (what, stored, recorded) in
        [("step", &steps, &recorded_steps), ("message", &messages, &recorded_messages)]
    {
        for (index, (stored, recorded)) in stored.iter().zip(recorded).enumerate() {
            if parse(stored)? != parse(recorded)? {
                return Ok(Some(format!("{what} {index} differs")));
            }
        }
    }
    // And as a whole, as the file has it.
    let (stored, recorded) =
        (run.reassemble(&steps, &messages), run.reassemble(&recorded_steps, &recorded_messages));
    let equal = documents(&stored)? == documents(&recorded)?;
    Ok((!equal).then(|| "the recording as a whole differs".to_owned()))
}

/// The steps as they are stored: every version of the task's record, oldest first, with
/// observations in place.
async fn steps(
    state: &dyn StateManager,
    references: &dyn ReferenceStore,
    names: &Names,
) -> Result<Vec<Bytes>> {
    let key = names.task()?;
    let mut by_number = BTreeMap::new();
    let mut query = HistoryQuery::default();
    loop {
        let page = state.history(&key, query).await?;
        let Some(last) = page.last() else { break };
        query.before = Some(last.version);
        for record in page {
            let stored = StoredStep::decode(&record.data)?;
            let number = stored.step;
            let observation = match stored.observation {
                Some(id) => Some(references.resolve(&id).await?.bytes),
                None => None,
            };
            by_number.insert(number, stored.join(observation.as_deref())?);
        }
    }
    Ok(by_number.into_values().collect())
}

fn parse(json: &[u8]) -> Result<Value> {
    serde_json::from_slice(json)
        .map_err(|error| Error::internal("what is stored is no JSON").with_source(error))
}

/// One document, or one of each line.
fn documents(json: &[u8]) -> Result<Vec<Value>> {
    let documents = serde_json::Deserializer::from_slice(json).into_iter::<Value>();
    let documents: std::result::Result<Vec<Value>, _> = documents.collect();
    documents.map_err(|error| Error::internal("what is stored is no JSON").with_source(error))
}
