//! The links to one Sentinel, for all masters that it watches: one connection that asks and one that is subscribed.
//!
//! A vote is asked for with VOUCH. A Sentinel that does not know the subcommand is a classic one for as long
//! as that connection lasts, and is asked for the address and the epoch of the master; what else may be behind another
//! connection is found out anew.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redoubt_wire::resp::value::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use super::answers::{self, Vouch};
use super::connection::{Connection, OpenError};
use super::pipeline::Pipeline;
use super::{BackOff, sleep_until, subscription};
use crate::agent::{Event, Events, LinkId, MasterId};
use crate::config::{Endpoint, Login};
use crate::core::types::{Answer, Input, QUESTION_LIMIT};

/// A connection that was silent for so long may have been cut, and its next packet be due in a minute.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a question is about, and for whom.
#[derive(Clone, Debug)]
pub(in crate::agent) struct Question {
    pub(in crate::agent) master: MasterId,
    /// The Sentinel's index among those of the master.
    pub(in crate::agent) sentinel: usize,
    pub(in crate::agent) round: u64,
    /// The master's.
    pub(in crate::agent) name: Arc<str>,
    /// The node that it is to vouch for, if it is a redoubt-sentinel; `None`: only whom it names.
    pub(in crate::agent) vouch_for: Option<(IpAddr, u16)>,
}

/// Whose release is told.
#[derive(Clone, Debug)]
pub(in crate::agent) struct Subject {
    pub(in crate::agent) name: Arc<str>,
    pub(in crate::agent) ip: IpAddr,
    pub(in crate::agent) port: u16,
}

enum Request {
    Ask(Question, Instant),
    Release(Subject),
}

/// What a person may know of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::agent) struct LinkState {
    /// Why there is no connection; `None` while there is one.
    pub(in crate::agent) down: Option<String>,
    /// Whether it is a classic Sentinel, once that is known.
    pub(in crate::agent) classic: Option<bool>,
}

/// The links to a Sentinel. The subscription ends when this is dropped, the other one when all of its requests have
/// been sent.
#[derive(Debug)]
pub(in crate::agent) struct SentinelLink {
    requests: UnboundedSender<Request>,
    state: Arc<Mutex<LinkState>>,
    task: JoinHandle<()>,
    subscription: AbortHandle,
}

impl SentinelLink {
    pub(in crate::agent) fn open(link: LinkId, sentinel: Endpoint, login: Login, events: Events) -> Self {
        let (requests, queue) = unbounded_channel();
        let state = Arc::new(Mutex::new(LinkState { down: Some("not connected yet".into()), classic: None }));
        let subscription =
            tokio::spawn(subscription::run(link, sentinel.clone(), login.clone(), events.clone()))
                .abort_handle();
        let task = Task {
            link,
            sentinel,
            login,
            events,
            queue,
            state: Arc::clone(&state),
            asked: Pipeline::new(PATIENCE),
        };
        SentinelLink { requests, state, task: tokio::spawn(task.run()), subscription }
    }

    /// Asks; the answer comes as an event.
    pub(in crate::agent) fn ask(&self, question: Question) {
        drop(self.requests.send(Request::Ask(question, Instant::now() + QUESTION_LIMIT)));
    }

    /// Tells that this host holds no more, if there is a connection to a redoubt-sentinel.
    pub(in crate::agent) fn tell_released(&self, subject: Subject) {
        drop(self.requests.send(Request::Release(subject)));
    }

    pub(in crate::agent) fn state(&self) -> LinkState {
        lock(&self.state).clone()
    }

    /// Ends the link when all that was to be sent has been, and answered if that comes soon.
    pub(in crate::agent) async fn close(self) {
        drop(self.requests);
        self.subscription.abort();
        if tokio::time::timeout(QUESTION_LIMIT, self.task).await.is_err() {
            // The task ends with the process, or when its connection does.
        }
    }
}

/// Nothing panics while it is held, and what it holds is whole at any time.
fn lock(state: &Mutex<LinkState>) -> MutexGuard<'_, LinkState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was asked over the connection.
enum Asked {
    Vouch(Question),
    /// Of a classic Sentinel, or where it is not to remember, first the address …
    Address,
    /// … and then the epoch.
    Epoch(Question, Result<SocketAddr, String>),
    Release,
}

struct Task {
    link: LinkId,
    sentinel: Endpoint,
    login: Login,
    events: Events,
    queue: UnboundedReceiver<Request>,
    state: Arc<Mutex<LinkState>>,
    asked: Pipeline<Asked>,
}

impl Task {
    async fn run(mut self) {
        let mut back_off = BackOff::default();
        let mut why = "not connected yet".to_owned();
        while let Some(opened) = self.connect(&why).await {
            let at;
            match opened {
                Ok(connection) => {
                    back_off.succeeded();
                    *lock(&self.state) = LinkState::default();
                    drop(self.events.send(Event::Reconnected { link: self.link }).await);
                    let Some(ended) = self.serve(connection).await else { return };
                    at = back_off.next();
                    why = ended;
                }
                Err(OpenError::Refused) => {
                    at = back_off.next();
                    why = "it refuses connections".into();
                }
                Err(OpenError::Other(error)) => {
                    at = back_off.next();
                    why = error;
                }
            }
            *lock(&self.state) = LinkState { down: Some(why.clone()), classic: None };
            let given_up: Vec<Asked> = self.asked.give_up().collect();
            for asked in given_up {
                self.nothing(&asked, &why).await;
            }
            if !self.pause(at, &why).await {
                return;
            }
        }
    }

    /// Answers that there is no connection, until the next attempt may begin; false if nobody asks any more.
    async fn pause(&mut self, until: Instant, why: &str) -> bool {
        loop {
            tokio::select! {
                biased;
                request = self.queue.recv() => match request {
                    Some(request) => self.decline(request, why).await,
                    None => return false,
                },
                () = tokio::time::sleep_until(until) => return true,
            }
        }
    }

    /// Connects; what is asked meanwhile has no answer.
    async fn connect(&mut self, why: &str) -> Option<Result<Connection, OpenError>> {
        let (sentinel, login) = (self.sentinel.clone(), self.login.clone());
        let attempt = async move { Connection::open(&sentinel, &login).await };
        tokio::pin!(attempt);
        loop {
            tokio::select! {
                biased;
                opened = &mut attempt => return Some(opened),
                request = self.queue.recv() => self.decline(request?, why).await,
            }
        }
    }

    async fn decline(&self, request: Request, why: &str) {
        // A Sentinel that cannot be told of a release waits for the lease to be over.
        if let Request::Ask(question, _) = request {
            self.answer(question, Answer::Nothing(why.to_owned())).await;
        }
    }

    /// Asks what is to be asked until the connection ends; why, or `None` when nobody asks any more.
    async fn serve(&mut self, mut connection: Connection) -> Option<String> {
        let mut closing = false;
        loop {
            tokio::select! {
                biased;
                reply = connection.next() => match reply {
                    Ok(reply) => {
                        let Some((asked, until)) = self.asked.pop() else {
                            return Some("it answers what was not asked".into());
                        };
                        if let Err(why) = self.answered(&mut connection, asked, until, &reply).await {
                            return Some(why);
                        }
                    }
                    Err(why) => return Some(why),
                },
                request = self.queue.recv(), if !closing => match request {
                    Some(request) => {
                        if let Err(why) = self.request(&mut connection, request).await {
                            return Some(why);
                        }
                    }
                    None => closing = true,
                },
                () = sleep_until(self.asked.due()) => {
                    self.give_up_overdue().await;
                    if self.asked.is_silent() {
                        return Some(format!("no answer for {} ms", PATIENCE.as_millis()));
                    }
                }
            }
            if closing && self.asked.is_empty() {
                return None;
            }
        }
    }

    async fn request(&mut self, connection: &mut Connection, request: Request) -> Result<(), String> {
        let classic = lock(&self.state).classic;
        match request {
            Request::Ask(question, until) => {
                if self.asked.is_full() {
                    self.answer(question, Answer::Nothing("it answers nothing".into())).await;
                    return Ok(());
                }
                match question.vouch_for {
                    Some(node) if classic != Some(true) => {
                        self.ask_to_vouch(connection, question, node, until).await
                    }
                    _ => self.ask_classic(connection, question, Some(until)).await,
                }
            }
            Request::Release(subject) if classic != Some(true) && !self.asked.is_full() => {
                self.asked.push(Asked::Release, None);
                let (ip, port) = (subject.ip.to_string(), subject.port.to_string());
                connection.send(&[&["SENTINEL", "VOUCH", &subject.name, &ip, &port, "RELEASE"]]).await
            }
            Request::Release(_) => Ok(()),
        }
    }

    async fn ask_to_vouch(
        &mut self,
        connection: &mut Connection,
        question: Question,
        (ip, port): (IpAddr, u16),
        until: Instant,
    ) -> Result<(), String> {
        let name = Arc::clone(&question.name);
        self.asked.push(Asked::Vouch(question), Some(until));
        connection.send(&[&["SENTINEL", "VOUCH", &name, &ip.to_string(), &port.to_string()]]).await
    }

    async fn ask_classic(
        &mut self,
        connection: &mut Connection,
        question: Question,
        until: Option<Instant>,
    ) -> Result<(), String> {
        let name = Arc::clone(&question.name);
        self.asked.push(Asked::Address, until);
        self.asked.push(Asked::Epoch(question, Err("it did not answer".into())), until);
        connection
            .send(&[&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &name], &["SENTINEL", "MASTER", &name]])
            .await
    }

    async fn answered(
        &mut self,
        connection: &mut Connection,
        asked: Asked,
        until: Option<Instant>,
        reply: &Value,
    ) -> Result<(), String> {
        match asked {
            Asked::Vouch(question) => match answers::vouch(reply) {
                Vouch::Answer(answer) => {
                    lock(&self.state).classic = Some(false);
                    if until.is_some() {
                        self.answer(question, answer).await;
                    }
                }
                Vouch::Classic => {
                    lock(&self.state).classic = Some(true);
                    if until.is_some() {
                        self.ask_classic(connection, question, until).await?;
                    }
                }
            },
            Asked::Address => self.note_address(answers::address(reply)),
            Asked::Epoch(question, address) => {
                let named = address.and_then(|address| Ok((address, answers::epoch(reply)?)));
                let answer = match named {
                    Ok((address, epoch)) => Answer::Names { address, epoch },
                    Err(why) => Answer::Nothing(why),
                };
                if until.is_some() {
                    self.answer(question, answer).await;
                }
            }
            Asked::Release if matches!(answers::vouch(reply), Vouch::Classic) => {
                lock(&self.state).classic = Some(true);
            }
            Asked::Release => {}
        }
        Ok(())
    }

    /// The question for the epoch follows that for the address.
    fn note_address(&mut self, address: Result<SocketAddr, String>) {
        if let Some(Asked::Epoch(_, slot)) = self.asked.first_mut() {
            *slot = address;
        }
    }

    async fn give_up_overdue(&mut self) {
        let mut questions = Vec::new();
        for asked in self.asked.overdue() {
            match asked {
                Asked::Vouch(question) | Asked::Epoch(question, _) => questions.push(question.clone()),
                Asked::Address | Asked::Release => {}
            }
        }
        for question in questions {
            let why = format!("no answer within {} ms", QUESTION_LIMIT.as_millis());
            self.answer(question, Answer::Nothing(why)).await;
        }
    }

    async fn nothing(&self, asked: &Asked, why: &str) {
        if let Asked::Vouch(question) | Asked::Epoch(question, _) = asked {
            self.answer(question.clone(), Answer::Nothing(why.to_owned())).await;
        }
    }

    async fn answer(&self, question: Question, answer: Answer) {
        let Question { master, sentinel, round, .. } = question;
        let input = Input::Sentinel { round, sentinel, answer };
        // Nobody hears it only when the agent ends.
        drop(self.events.send(Event::Input { master, input }).await);
    }
}
