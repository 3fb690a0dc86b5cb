//! Data nodes that are only played: hundreds of them, on a port each, in this one process.
//!
//! They answer what a Sentinel asks of a node: PING, INFO of the usual size, the hello channel, and take everything
//! else with OK. They hold no data and cost next to nothing, so that what is measured is the Sentinel.
//! One that hangs keeps its connections and answers nothing, like a process under SIGSTOP.

use std::sync::{Arc, Mutex, PoisonError};

use redoubt_wire::resp::value::{Value, ValueLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::error::{LabError, Result};
use crate::ports::PortLease;

/// Bytes of an INFO of redis-server 7; a Sentinel reads all of them.
const INFO_BYTES: usize = 5_500;
/// A Sentinel sends short commands.
const LIMITS: ValueLimits =
    ValueLimits { max_blob_len: 64 << 10, max_line_len: 1 << 10, max_elements: 64, max_depth: 2 };

/// A master with a replica, played until dropped.
#[derive(Debug)]
pub struct PlayedPair {
    master: PortLease,
    _replica: PortLease,
    hung: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

/// What the connections of one node share.
#[derive(Debug)]
struct Node {
    info: String,
    hung: watch::Receiver<bool>,
    subscribers: Mutex<Vec<mpsc::UnboundedSender<Vec<u8>>>>,
}

impl PlayedPair {
    /// Starts to play them.
    pub async fn start() -> Result<PlayedPair> {
        let (master, replica) = (PortLease::take()?, PortLease::take()?);
        let (hung, watched) = watch::channel(false);
        let (_, never) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let of_master = format!(
            "role:master\r\nconnected_slaves:1\r\n\
             slave0:ip=127.0.0.1,port={},state=online,offset=1,lag=0\r\nmaster_repl_offset:1\r\n",
            replica.port()
        );
        let of_replica = format!(
            "role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:{}\r\nmaster_link_status:up\r\n\
             slave_priority:100\r\nslave_repl_offset:1\r\n",
            master.port()
        );
        for (lease, role, hung) in [(&master, of_master, watched), (&replica, of_replica, never)] {
            let listener = TcpListener::bind(lease.addr())
                .await
                .map_err(LabError::io(format!("cannot listen on {}", lease.addr())))?;
            let info = info(lease.port(), &role);
            let node = Arc::new(Node { info, hung, subscribers: Mutex::default() });
            tasks.spawn(accept(listener, node));
        }
        Ok(PlayedPair { master, _replica: replica, hung, _tasks: tasks })
    }

    /// The port of the master.
    pub fn port(&self) -> u16 {
        self.master.port()
    }

    /// Lets the master hang, or go on.
    pub fn set_hung(&self, hung: bool) {
        self.hung.send_replace(hung);
    }
}

fn info(port: u16, role: &str) -> String {
    let mut text =
        format!("# Server\r\nredis_version:7.0.15\r\nrun_id:{port:040}\r\n# Replication\r\n{role}");
    let mut number = 0;
    while text.len() < INFO_BYTES {
        number += 1;
        text += &format!("some_statistics_field_{number}:123456789\r\n");
    }
    text
}

async fn accept(listener: TcpListener, node: Arc<Node>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // A connection that cannot be accepted is tried again by its other end.
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(serve(stream, node.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection until it ends; why it does is of no interest.
async fn serve(stream: TcpStream, node: Arc<Node>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let (mut reader, mut writer) = stream.into_split();
    let (sender, mut messages) = mpsc::unbounded_channel::<Vec<u8>>();
    let mut hung = node.hung.clone();
    let mut decoder = redoubt_wire::resp::value::Decoder::new(LIMITS);
    let mut buf = Vec::with_capacity(4 << 10);
    loop {
        let mut out = Vec::new();
        tokio::select! {
            read = reader.read_buf(&mut buf) => if read.ok()? == 0 { return None },
            message = messages.recv() => out = message?,
        }
        hung.wait_for(|hung| !hung).await.ok()?;
        let mut used = 0;
        while let Some((command, len)) = decoder.decode(&buf[used..]).ok()? {
            used += len;
            node.answer(&command, &sender, &mut out)?;
        }
        buf.drain(..used);
        writer.write_all(&out).await.ok()?;
    }
}

impl Node {
    fn answer(
        &self,
        command: &Value,
        sender: &mpsc::UnboundedSender<Vec<u8>>,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let words: Vec<&[u8]> = command.as_slice()?.iter().filter_map(Value::as_bytes).collect();
        match words.first()?.to_ascii_lowercase().as_slice() {
            b"ping" => out.extend_from_slice(b"+PONG\r\n"),
            b"info" => blob(out, self.info.as_bytes()),
            b"subscribe" => {
                self.subscribers().push(sender.clone());
                out.extend_from_slice(b"*3\r\n$9\r\nsubscribe\r\n");
                blob(out, words.get(1)?);
                out.extend_from_slice(b":1\r\n");
            }
            b"publish" => {
                let mut message = b"*3\r\n$7\r\nmessage\r\n".to_vec();
                blob(&mut message, words.get(1)?);
                blob(&mut message, words.get(2)?);
                let mut subscribers = self.subscribers();
                subscribers.retain(|subscriber| subscriber.send(message.clone()).is_ok());
                out.extend_from_slice(format!(":{}\r\n", subscribers.len()).as_bytes());
            }
            _ => out.extend_from_slice(b"+OK\r\n"),
        }
        Some(())
    }

    fn subscribers(&self) -> std::sync::MutexGuard<'_, Vec<mpsc::UnboundedSender<Vec<u8>>>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn blob(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client;

    #[tokio::test]
    async fn a_played_master_answers_as_a_node_and_hangs_on_demand() {
        let pair = PlayedPair::start().await.unwrap();
        let addr = pair.master.addr();
        let patient = Duration::from_secs(10);
        assert_eq!(client::ask::<String>(addr, patient, &["PING"]).await.unwrap(), "PONG");
        let text: String = client::ask(addr, patient, &["INFO"]).await.unwrap();
        let role = client::Role::from_info(&client::info_fields(&text)).unwrap();
        assert_eq!(role, client::Role::Master { online_replicas: 1, offset: 1 });
        let mut connection = client::connect(addr, Duration::from_millis(200)).await.unwrap();
        pair.set_hung(true);
        let silent = client::cmd(&["PING"]).query_async::<String>(&mut connection).await;
        assert!(silent.unwrap_err().is_timeout());
        pair.set_hung(false);
        assert_eq!(client::ask::<String>(addr, patient, &["PING"]).await.unwrap(), "PONG");
    }
}
