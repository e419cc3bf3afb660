//! Reading the current record of one key by one look, as most readers do.
//!
//! A few who read at once send a command each. More of them travel together: what the server and the
//! client library do for each command costs more than the look.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fred::interfaces::HashesInterface;
use fred::types::{Key, Value};
use statehouse_contracts::{Namespace, Record, Result, StateKey};

use super::packed::unpack;
use super::version::{Stored, damaged};
use super::{DragonflyState, scripts};
use crate::reply::Reply;
use crate::rounds::{Call, Rounds};
use crate::session::Store;

/// How many may read at once that do not travel together.
const FEW: usize = 4;

/// Those who read one key each.
#[derive(Debug, Default)]
pub(crate) struct Glances {
    under_way: AtomicUsize,
    together: Rounds<Glance>,
}

/// The live record of a key; `None` when a look cannot tell: its content is large or appended, or it
/// may have expired.
pub(super) async fn glance(
    state: &DragonflyState,
    key: &StateKey,
) -> Result<Option<Option<Record>>> {
    let session = &state.session;
    session.check_open("get")?;
    let (glances, record) = (&session.store.glances, state.names.record_of(key));
    let reading = Reading::begin(&glances.under_way);
    let fields = if reading.others < FEW {
        look(&session.store, record).await?
    } else {
        let glance = Glance {
            store: Arc::clone(&session.store),
            record,
        };
        let lane = session.namespace.clone();
        glances.together.call(lane, glance).await?
    };
    read(key, fields)
}

async fn look(store: &Store, record: Key) -> Result<Value> {
    let look = store.client.run("get", false, |commands| async move {
        commands.hmget(record, vec!["v", "c", "d"]).await
    });
    look.await
}

fn read(key: &StateKey, fields: Value) -> Result<Option<Option<Record>>> {
    let [version, is, data] = <[Value; 3]>::try_from(fields.into_array())
        .map_err(|_| damaged("a record has too many fields".to_owned()))?;
    if version.is_null() {
        return Ok(Some(None));
    }
    let is = is.into_bytes().and_then(|packed| unpack(&packed));
    let Some(stored) = is.map(|is| Stored::of(Reply::from(is))).transpose()? else {
        return Ok(None);
    };
    if !stored.is_live() {
        return Ok(Some(None));
    }
    if !stored.twice || stored.may_expire() {
        return Ok(None);
    }
    let (version, data) = (Reply::from(version).number()?, Reply::from(data).bytes()?);
    Ok(Some(Some(stored.record(key.clone(), version, data))))
}

/// One key to look at, with those of other callers.
struct Glance {
    store: Arc<Store>,
    record: Key,
}

impl Call for Glance {
    type Lane = Namespace;
    type Answer = Value;

    const MOST: usize = 256;
    const ABREAST: usize = 2;

    fn weight(&self) -> usize {
        1
    }

    async fn make(calls: Vec<Self>) -> Result<Vec<Value>> {
        let Some(store) = calls.first().map(|call| Arc::clone(&call.store)) else {
            return Ok(Vec::new());
        };
        let records = calls.into_iter().map(|call| call.record).collect();
        let script = &scripts::GLANCE;
        let answer = store.client.script("get", script, records, Vec::new());
        Ok(answer.await?.into_array())
    }
}

/// Somebody reads while this lives.
struct Reading<'a> {
    under_way: &'a AtomicUsize,
    others: usize,
}

impl<'a> Reading<'a> {
    fn begin(under_way: &'a AtomicUsize) -> Self {
        let others = under_way.fetch_add(1, Ordering::Relaxed);
        Self { under_way, others }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
