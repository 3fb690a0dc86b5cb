//! An engine with one client, for tests that speak to it in commands.

use redoubt_wire::quoting::split;
use redoubt_wire::resp::reply::{Protocol, Reply};

use super::Engine;
use super::execute::Executed;
use super::session::{ClientId, Session};
use crate::config::Config;

/// An engine, its first client, and the time.
#[derive(Debug)]
pub struct Harness {
    /// The engine.
    pub engine: Engine,
    /// The client that [`Harness::run`] speaks for.
    pub client: ClientId,
    /// Unix time of the next command, in ms.
    pub now_ms: i64,
}

impl Default for Harness {
    fn default() -> Self {
        Harness::new()
    }
}

impl Harness {
    /// An empty engine with the default configuration, but for DEBUG being allowed.
    pub fn new() -> Self {
        let enable_debug_command = crate::config::ProtectedAction::Yes;
        let config = Config { enable_debug_command, ..Config::default() };
        let mut engine = Engine::new(config, 1, || 0);
        let now_ms = 1_700_000_000_000;
        let client = engine.connect("127.0.0.1:50001", "127.0.0.1:6379", -1, now_ms);
        Harness { engine, client, now_ms }
    }

    /// One more client.
    pub fn connect(&mut self) -> ClientId {
        self.engine.connect("127.0.0.1:50002", "127.0.0.1:6379", -1, self.now_ms)
    }

    /// The first client's session.
    pub fn session(&self) -> &Session {
        self.engine.clients.get(self.client).expect("the first client is connected")
    }

    /// Runs one command line, quoted as redis-cli quotes, and returns its encoded reply.
    pub fn run(&mut self, line: &str) -> String {
        self.run_as(self.client, line)
    }

    /// Runs a command line of another client.
    pub fn run_as(&mut self, client: ClientId, line: &str) -> String {
        let words = split(line.as_bytes()).expect("balanced quotes");
        let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        String::from_utf8_lossy(&self.run_args(client, &args)).into_owned()
    }

    /// Runs a command given in arguments.
    pub fn run_args(&mut self, client: ClientId, args: &[&[u8]]) -> Vec<u8> {
        let mut reply = Reply::new(Protocol::Resp2);
        let mut batch = self.engine.begin(client, self.now_ms).expect("the client is connected");
        assert_eq!(batch.execute(args, &mut reply), Executed::Done);
        reply.buf
    }
}
