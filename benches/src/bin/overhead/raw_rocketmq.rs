//! The library's transport, used by hand: one request for each call.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use cheetah_string::CheetahString;
use rocketmq_protocol::{
    code::request_code::RequestCode,
    common::message::message_decoder,
    protocol::{
        body::broker_body::cluster_info::ClusterInfo, header::extra_info_util::ExtraInfoUtil,
        remoting_command::RemotingCommand,
    },
};
use rocketmq_runtime::{RuntimeConfig, RuntimeOwner};
use rocketmq_transport::api::{
    DefaultRequestProcessor, OutboundRequestOutcome, RequestDeadline, TransportClient,
    TransportClientConfig,
};
use statehouse_benches::{
    Result, VALUE,
    load::{self, Until},
};
use uuid::Uuid;

use crate::compare::Messages;

const TOPIC: &str = "bench-by-hand";
const GROUP: &str = "bench-by-hand-group";
const QUEUES: u32 = 10;
const LEASE: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct Raw {
    transport: Arc<TransportClient>,
    _owner: Arc<RuntimeOwner>,
    broker: CheetahString,
    name: CheetahString,
    value: Bytes,
}

impl Raw {
    /// Finds the broker through the name server, and makes a topic and a group on it.
    pub(crate) async fn open(name_server: &str) -> Result<Self> {
        let config = RuntimeConfig {
            thread_name: "by-hand".to_owned(),
            worker_threads: 2,
            ..RuntimeConfig::default()
        };
        let plan = RuntimeOwner::plan(config).map_err(|error| format!("{error:?}"))?;
        let owner = plan.build().map_err(|error| format!("{error:?}"))?;
        let context = owner.root_context().component("by-hand");
        let config = Arc::new(TransportClientConfig::default());
        let transport = TransportClient::builder(config, DefaultRequestProcessor, context).build();
        let mut raw = Self {
            transport: Arc::new(transport.map_err(|error| format!("{error:?}"))?),
            _owner: Arc::new(owner),
            broker: name_server.into(),
            name: CheetahString::new(),
            value: vec![b'x'; VALUE].into(),
        };
        let answer = raw.ask(RequestCode::GetBrokerClusterInfo, [], None).await?;
        let cluster = ClusterInfo::decode(&answer.body().cloned().unwrap_or_default())?;
        let table = cluster.broker_addr_table.ok_or("no broker")?;
        let master = table.values().next().ok_or("no broker")?;
        raw.name = master.broker_name().clone();
        raw.broker = master.broker_addrs().get(&0).ok_or("no master")?.clone();
        raw.make().await?;
        Ok(raw)
    }

    async fn make(&self) -> Result<()> {
        let queues = QUEUES.to_string();
        let topic = [
            ("topic", TOPIC.into()),
            ("defaultTopic", "TBW102".into()),
            ("readQueueNums", queues.clone()),
            ("writeQueueNums", queues),
            ("perm", "6".into()),
            ("topicFilterType", "SINGLE_TAG".into()),
            ("topicSysFlag", "0".into()),
            ("order", "false".into()),
        ];
        self.ask(RequestCode::UpdateAndCreateTopic, topic, None)
            .await?;
        let group = format!(r#"{{"groupName":"{GROUP}","consumeEnable":true}}"#);
        let code = RequestCode::UpdateAndCreateSubscriptionGroup;
        self.ask(code, [], Some(group.into())).await?;
        Ok(())
    }

    /// Asks the broker; any answer but success is an error.
    async fn ask<const N: usize>(
        &self,
        code: RequestCode,
        fields: [(&'static str, String); N],
        body: Option<Bytes>,
    ) -> Result<RemotingCommand> {
        let fields: HashMap<CheetahString, CheetahString> = fields
            .into_iter()
            .map(|(name, value)| (CheetahString::from_static_str(name), value.into()))
            .collect();
        let mut command = RemotingCommand::create_remoting_command(code).set_ext_fields(fields);
        if let Some(body) = body {
            command = command.set_body(body);
        }
        let deadline = RequestDeadline::from_timeout_millis(TIMEOUT.as_millis() as u64);
        let asked =
            self.transport
                .invoke_request_with_deadline(Some(&self.broker), command, deadline);
        match Box::pin(asked).await {
            Ok(OutboundRequestOutcome::Response(answer)) if answer.code() == 0 => Ok(answer),
            Ok(OutboundRequestOutcome::Response(answer)) => {
                Err(format!("{}: {:?}", answer.code(), answer.remark()).into())
            }
            Ok(_) => Err("the request was not sent".into()),
            Err(error) => Err(format!("{error:?}").into()),
        }
    }

    async fn pop(&self) -> Result<RemotingCommand> {
        let fields = [
            ("consumerGroup", GROUP.into()),
            ("topic", TOPIC.into()),
            ("queueId", "-1".into()),
            ("maxMsgNums", "1".into()),
            ("invisibleTime", LEASE.as_millis().to_string()),
            ("pollTime", TIMEOUT.as_millis().to_string()),
            ("bornTime", now().to_string()),
            ("initMode", "0".into()),
            ("expType", "TAG".into()),
            ("exp", "*".into()),
            ("order", "false".into()),
        ];
        self.ask(RequestCode::PopMessage, fields, None).await
    }

    async fn ack(&self, queue: i32, offset: i64, handle: String) -> Result<()> {
        let fields = [
            ("consumerGroup", GROUP.into()),
            ("topic", TOPIC.into()),
            ("queueId", queue.to_string()),
            ("extraInfo", handle),
            ("offset", offset.to_string()),
        ];
        self.ask(RequestCode::AckMessage, fields, None).await?;
        Ok(())
    }
}

impl Messages for Raw {
    async fn send(&self) -> Result<()> {
        let id = Uuid::now_v7().simple();
        let fields = [
            ("a", "bench".into()),
            ("b", TOPIC.into()),
            ("c", "TBW102".into()),
            ("d", "4".into()),
            ("e", fastrand::u32(..QUEUES).to_string()),
            ("f", "0".into()),
            ("g", now().to_string()),
            ("h", "0".into()),
            ("i", format!("UNIQ_KEY\u{1}{id}\u{2}WAIT\u{1}true\u{2}")),
            ("j", "0".into()),
            ("k", "false".into()),
            ("m", "false".into()),
            ("n", self.name.to_string()),
        ];
        let body = Some(self.value.clone());
        self.ask(RequestCode::SendMessageV2, fields, body).await?;
        Ok(())
    }

    async fn stock(&self, count: usize) -> Result<()> {
        let raw = self.clone();
        let send = move |_, _| {
            let raw = raw.clone();
            async move { raw.send().await }
        };
        load::run(64, Until::Calls(count as u64), send).await?;
        Ok(())
    }

    async fn receive_and_ack(&self) -> Result<()> {
        let answer = self.pop().await?;
        let field = |name: &str| {
            let field = answer.ext_fields().and_then(|fields| fields.get(name));
            field.map_or("", CheetahString::as_str).to_owned()
        };
        let mut body = answer.body().cloned().unwrap_or_default();
        let messages = message_decoder::decodes_batch(&mut body, true, true);
        let [message] = &messages[..] else {
            return Err(format!("{} messages, not one", messages.len()).into());
        };
        let topic: CheetahString = message.topic().as_str().into();
        let (queue, offset) = (message.queue_id(), message.queue_offset());
        let starts = ExtraInfoUtil::parse_start_offset_info(&field("startOffsetInfo"))?;
        let start = ExtraInfoUtil::get_start_offset_info_map_key(&topic, i64::from(queue));
        let handle = ExtraInfoUtil::build_extra_info_with_offset(
            starts.get(&start).copied().unwrap_or(offset),
            field("popTime").parse()?,
            field("invisibleTime").parse()?,
            field("reviveQid").parse()?,
            &topic,
            &self.name,
            queue,
            offset,
        );
        self.ack(queue, offset, handle).await
    }
}

/// Milliseconds since 1970.
fn now() -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_millis()
}
