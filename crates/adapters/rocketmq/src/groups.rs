//! Groups: subscription groups of the broker, each of which keeps its own spec.

mod kept;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cheetah_string::CheetahString;
use parking_lot::Mutex;
use rocketmq_protocol::code::request_code::RequestCode;
use serde::Deserialize;
use statehouse_contracts::{
    Declared, Detail, Error, ErrorKind, GroupName, GroupSpec, GroupStatus, Namespace, Pattern,
    Result, Start,
};

use self::kept::Kept;
use crate::client::Client;
use crate::error::code;
use crate::naming::{Naming, Topics, tag_filter};
use crate::request::Request;
use crate::session::Broker;
use crate::topics::{Made, TopicsMade};

/// How long what is known of a group is believed. Pausing is the broker's own and holds at once.
const BELIEVED: Duration = Duration::from_secs(2);

/// Reset to the end, and to the beginning, as times.
const TO_END: i64 = -1;
const TO_BEGINNING: i64 = 0;

/// A group as the broker keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) namespace: Namespace,
    pub(crate) name: GroupName,
    pub(crate) spec: GroupSpec,
    pub(crate) paused: bool,
    /// The consumer group.
    pub(crate) native: CheetahString,
    /// Which of the groups that had this name.
    pub(crate) incarnation: u64,
    /// The topic of what failed and comes again.
    pub(crate) again: CheetahString,
    /// The topics that it reads.
    pub(crate) topics: Topics,
    /// The tag expression that the broker filters by.
    pub(crate) filter: CheetahString,
}

/// The groups of all namespaces.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) client: Arc<Client>,
    pub(crate) naming: Naming,
    pub(crate) made: TopicsMade,
    known: Mutex<HashMap<CheetahString, (Instant, Arc<Group>)>>,
    /// The brokers where the group is known by which queues are read without taking anything.
    readers: Mutex<HashSet<CheetahString>>,
    /// Declarations of one process go one at a time: the broker has no compare-and-set.
    declaring: tokio::sync::Mutex<()>,
}

impl Groups {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        let naming = Naming::new(&client.config.topic, &client.config.consumer_group);
        Self {
            client,
            naming,
            made: TopicsMade::default(),
            known: Mutex::default(),
            readers: Mutex::default(),
            declaring: tokio::sync::Mutex::default(),
        }
    }

    /// The topics of `namespace`, which are made if need be.
    pub(crate) async fn made(&self, namespace: &Namespace) -> Result<Arc<Made>> {
        self.made
            .ensure(&self.client, &self.naming, namespace)
            .await
    }

    /// Their names.
    pub(crate) async fn topics(&self, namespace: &Namespace) -> Result<Topics> {
        Ok(self.made(namespace).await?.topics.clone())
    }

    /// Makes the group, or checks that it is there with the same spec.
    ///
    /// Two processes that declare different specs at the same time may both be answered `Ok` only
    /// if the second writes between the first's check and its reading back.
    pub(crate) async fn declare(
        &self,
        namespace: &Namespace,
        name: &GroupName,
        spec: &GroupSpec,
    ) -> Result<Declared> {
        let _one_at_a_time = self.declaring.lock().await;
        if let Some(group) = self.look(namespace, name).await? {
            return same(&group.spec, spec).map(|()| Declared { created: false });
        }
        let topics = self.topics(namespace).await?;
        let native = self.naming.group(namespace, name);
        for broker in self.client.brokers()?.iter() {
            // Without its spec it is not declared yet: a crash in between leaves nothing behind.
            self.write(broker, &Kept::undeclared(&native)).await?;
            let from = match spec.start {
                Start::Now => TO_END,
                Start::Earliest => TO_BEGINNING,
            };
            for topic in [&topics.keyed, &topics.priority] {
                self.reset(broker, topic, &native, from).await?;
            }
            let kept = Kept::declared(&native, &topics, spec)?;
            self.write(broker, &kept).await?;
        }
        let written = self.look(namespace, name).await?.ok_or_else(|| {
            Error::new(
                ErrorKind::Unavailable,
                "the group was deleted while it was declared",
            )
            .with_context("group", name)
        })?;
        same(&written.spec, spec).map(|()| Declared { created: true })
    }

    /// The group, as this process knows it; a mailbox that is not there is made.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub(crate) async fn find(&self, namespace: &Namespace, name: &GroupName) -> Result<Arc<Group>> {
        if let Some(group) = self.remembered(namespace, name) {
            return Ok(group);
        }
        if let Some(group) = self.look(namespace, name).await? {
            return Ok(group);
        }
        if !name.is_mailbox() {
            return Err(unknown(name));
        }
        let spec = GroupSpec::new(Pattern::new(name.as_str())?);
        match self.declare(namespace, name, &spec).await {
            Ok(_) => {}
            // Somebody else was first, by another spec.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
        self.look(namespace, name)
            .await?
            .ok_or_else(|| unknown(name))
    }

    /// The group as the broker keeps it.
    pub(crate) async fn look(
        &self,
        namespace: &Namespace,
        name: &GroupName,
    ) -> Result<Option<Arc<Group>>> {
        let native = self.naming.group(namespace, name);
        for broker in self.client.brokers()?.iter() {
            if let Some(kept) = self.read(broker, &native).await?
                && let Some(group) = self.group(kept)
            {
                let group = Arc::new(group);
                let entry = (Instant::now(), group.clone());
                self.known.lock().insert(native, entry);
                return Ok(Some(group));
            }
        }
        self.forget(&native);
        Ok(None)
    }

    /// The consumer group by which queues are read without taking anything; made if need be.
    pub(crate) async fn reader(&self, broker: &Broker) -> Result<CheetahString> {
        let native: CheetahString = self.client.config.consumer_group.as_str().into();
        if !self.readers.lock().contains(&broker.name) {
            self.write(broker, &Kept::undeclared(&native)).await?;
            self.readers.lock().insert(broker.name.clone());
        }
        Ok(native)
    }

    /// Forgets what is known of a consumer group, after the broker said otherwise.
    pub(crate) fn forget(&self, native: &CheetahString) {
        self.known.lock().remove(native);
    }

    /// The groups of all namespaces.
    pub(crate) async fn all(&self) -> Result<Vec<Group>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Table {
            subscription_group_table: HashMap<String, Kept>,
        }
        let mut seen = HashSet::new();
        let mut groups = Vec::new();
        for broker in self.client.brokers()?.iter() {
            let request = Request::new(RequestCode::GetAllSubscriptionGroupConfig);
            let answer = self.client.call("groups", &broker.address, request).await?;
            let table: Table = answer.success("groups")?.json()?;
            for (native, kept) in table.subscription_group_table {
                if seen.insert(native) {
                    groups.extend(self.group(kept));
                }
            }
        }
        Ok(groups)
    }

    /// The groups of `namespace`, by name.
    pub(crate) async fn list(&self, namespace: &Namespace) -> Result<Vec<GroupStatus>> {
        let mut groups = self.all().await?;
        groups.retain(|group| group.namespace == *namespace);
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        let status = |group: Group| GroupStatus {
            group: group.name,
            spec: group.spec,
            paused: group.paused,
        };
        Ok(groups.into_iter().map(status).collect())
    }

    /// Lets the broker hand out nothing to the group, or hand out again.
    pub(crate) async fn set_paused(
        &self,
        namespace: &Namespace,
        name: &GroupName,
        paused: bool,
    ) -> Result<()> {
        let group = self
            .look(namespace, name)
            .await?
            .ok_or_else(|| unknown(name))?;
        for broker in self.client.brokers()?.iter() {
            let Some(mut kept) = self.read(broker, &group.native).await? else {
                continue;
            };
            kept.consume_enable = !paused;
            self.write(broker, &kept).await?;
        }
        self.forget(&group.native);
        Ok(())
    }

    /// Deletes the group and what it holds; answers whether it was there.
    pub(crate) async fn delete(&self, namespace: &Namespace, name: &GroupName) -> Result<bool> {
        let Some(group) = self.look(namespace, name).await? else {
            return Ok(false);
        };
        for broker in self.client.brokers()?.iter() {
            let request = Request::new(RequestCode::DeleteSubscriptionGroup)
                .text("groupName", group.native.clone())
                .field("cleanOffset", true);
            let answer = self
                .client
                .call("delete group", &broker.address, request)
                .await?;
            answer.success("delete group")?;
            for topic in group.own_topics() {
                let request = Request::new(RequestCode::DeleteTopicInBroker).text("topic", topic);
                let answer = self
                    .client
                    .call("delete group", &broker.address, request)
                    .await?;
                if answer.code() != code::TOPIC_NOT_EXIST {
                    answer.success("delete group")?;
                }
            }
        }
        self.forget(&group.native);
        Ok(true)
    }

    /// Lets the group go on at the end (a negative time) or at what was stored at a time.
    pub(crate) async fn reset(
        &self,
        broker: &Broker,
        topic: &CheetahString,
        native: &CheetahString,
        timestamp: i64,
    ) -> Result<()> {
        let request = Request::new(RequestCode::InvokeBrokerToResetOffset)
            .text("topic", topic.clone())
            .text("group", native.clone())
            .field("queueId", -1)
            .field("timestamp", timestamp)
            .field("isForce", true);
        let answer = self
            .client
            .call("reset group", &broker.address, request)
            .await?;
        answer.success("reset group").map(|_| ())
    }

    fn remembered(&self, namespace: &Namespace, name: &GroupName) -> Option<Arc<Group>> {
        let known = self.known.lock();
        let (since, group) = known.get(&self.naming.group(namespace, name))?;
        (since.elapsed() < BELIEVED).then(|| group.clone())
    }

    async fn read(&self, broker: &Broker, native: &CheetahString) -> Result<Option<Kept>> {
        let request =
            Request::new(RequestCode::GetSubscriptionGroupConfig).text("group", native.clone());
        let answer = self
            .client
            .call("look for group", &broker.address, request)
            .await?;
        if answer.code() == code::GROUP_NOT_EXIST {
            return Ok(None);
        }
        answer.success("look for group")?.json().map(Some)
    }

    async fn write(&self, broker: &Broker, kept: &Kept) -> Result<()> {
        let request = Request::new(RequestCode::UpdateAndCreateSubscriptionGroup).json(kept)?;
        let answer = self
            .client
            .call("write group", &broker.address, request)
            .await?;
        answer.success("write group").map(|_| ())
    }

    /// The group that the broker keeps, if it is one of ours and declared.
    fn group(&self, kept: Kept) -> Option<Group> {
        let (namespace, name) = self.naming.read_group(&kept.group_name)?;
        let (spec, incarnation) = kept.spec()?;
        Some(Group {
            topics: self.naming.topics(&namespace),
            filter: tag_filter(&spec.pattern),
            namespace,
            name,
            spec,
            paused: !kept.consume_enable,
            incarnation,
            again: Naming::again(&kept.group_name),
            native: kept.group_name.into(),
        })
    }
}

impl Group {
    /// The topics on the broker that belong to this group alone: retries and dead letters.
    pub(crate) fn own_topics(&self) -> Vec<CheetahString> {
        let mut own: Vec<CheetahString> = [&self.topics.keyed, &self.topics.priority]
            .into_iter()
            .flat_map(|topic| Naming::retry_topics(topic, &self.native))
            .collect();
        own.extend(Naming::retry_topics(&self.again, &self.native));
        own.push(self.again.clone());
        own.push(Naming::dead_letters(&self.native));
        own
    }
}

fn same(declared: &GroupSpec, spec: &GroupSpec) -> Result<()> {
    match declared.difference(spec) {
        None => Ok(()),
        Some(field) => Err(Error::new(
            ErrorKind::Conflict,
            format!("the group is declared with another {field}"),
        )
        .with_detail(Detail::SpecField(field))),
    }
}

fn unknown(name: &GroupName) -> Error {
    Error::not_found(format!("there is no group {name}; declare it first"))
}
