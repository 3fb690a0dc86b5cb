//! The link to the local node: one connection, one question.
//!
//! There is no pause between attempts to connect: one is made for each question, since a refused attempt is an answer,
//! and at once when the connection ends, since what is asked next decides whether the address stays.

use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use super::connection::{Connection, OpenError};
use super::pipeline::Pipeline;
use super::{answers, sleep_until};
use crate::agent::{Event, Events, MasterId};
use crate::config::{Endpoint, Login};
use crate::core::types::{Hint, Input, NodeRole, QUESTION_LIMIT};

/// A node that hangs is not asked over new connections all the time: each would wait in its queue.
const PATIENCE: Duration = Duration::from_secs(5);
/// An attempt to connect has bounds of its own, but for the name service.
const ATTEMPT_PATIENCE: Duration = Duration::from_secs(3600);

/// The link to a node; it ends when this is dropped.
#[derive(Debug)]
pub(in crate::agent) struct NodeLink {
    questions: UnboundedSender<Question>,
}

#[derive(Debug)]
struct Question {
    round: u64,
    until: Instant,
}

impl NodeLink {
    pub(in crate::agent) fn open(master: MasterId, node: Endpoint, login: Login, events: Events) -> Self {
        let (questions, queue) = unbounded_channel();
        tokio::spawn(Task { master, node, login, events, queue }.run());
        NodeLink { questions }
    }

    /// Asks for the role; the answer comes as an event.
    pub(in crate::agent) fn ask(&self, round: u64) {
        let until = Instant::now() + QUESTION_LIMIT;
        // The task ends only after this is dropped.
        drop(self.questions.send(Question { round, until }));
    }
}

/// How a connection ended.
struct Ended {
    why: String,
    /// Whether it ever answered: a node that takes connections only to close them is not asked without a pause.
    was_of_use: bool,
}

struct Task {
    master: MasterId,
    node: Endpoint,
    login: Login,
    events: Events,
    queue: UnboundedReceiver<Question>,
}

impl Task {
    async fn run(mut self) {
        let mut waiting = Pipeline::new(ATTEMPT_PATIENCE);
        while let Some(opened) = self.connect(&mut waiting).await {
            match opened {
                Ok(connection) => {
                    let Some(ended) = self.serve(connection, &mut waiting).await else { return };
                    for question in waiting.give_up() {
                        self.answer(question, NodeRole::Unknown(ended.why.clone())).await;
                    }
                    if ended.was_of_use {
                        // Whether it still listens must be known now, not at the next turn.
                        self.tell(Input::Hint(Hint::Other)).await;
                    } else if !self.wait_for_question(&mut waiting).await {
                        return;
                    }
                }
                Err(error) => {
                    let role = match error {
                        OpenError::Refused => NodeRole::Gone,
                        OpenError::Other(why) => NodeRole::Unknown(why),
                    };
                    for question in waiting.give_up() {
                        self.answer(question, role.clone()).await;
                    }
                    if !self.wait_for_question(&mut waiting).await {
                        return;
                    }
                }
            }
        }
    }

    /// The next attempt is made for the next question; false if there will be none.
    async fn wait_for_question(&mut self, waiting: &mut Pipeline<u64>) -> bool {
        let question = self.queue.recv().await;
        question.map(|question| waiting.push(question.round, Some(question.until))).is_some()
    }

    /// Connects; the questions that come meanwhile wait for it, as long as they may.
    async fn connect(&mut self, waiting: &mut Pipeline<u64>) -> Option<Result<Connection, OpenError>> {
        let (node, login) = (self.node.clone(), self.login.clone());
        let attempt = async move { Connection::open(&node, &login).await };
        tokio::pin!(attempt);
        loop {
            tokio::select! {
                biased;
                opened = &mut attempt => return Some(opened),
                question = self.queue.recv() => {
                    let question = question?;
                    waiting.push(question.round, Some(question.until));
                }
                () = sleep_until(waiting.due()) => self.give_up_overdue(waiting, "no connection").await,
            }
        }
    }

    /// Asks what is to be asked until the connection ends; why, or `None` when nobody asks any more.
    async fn serve(&mut self, mut connection: Connection, waiting: &mut Pipeline<u64>) -> Option<Ended> {
        let mut asked = Pipeline::new(PATIENCE);
        let mut was_of_use = false;
        while let Some((round, until)) = waiting.pop() {
            // One whose time was over while the connection was made has had its answer.
            if until.is_some() {
                asked.push(round, until);
                if let Err(why) = connection.send(&[&["ROLE"]]).await {
                    *waiting = asked;
                    return Some(Ended { why, was_of_use });
                }
            }
        }
        let why = loop {
            tokio::select! {
                biased;
                reply = connection.next() => match reply {
                    Ok(reply) => match asked.pop() {
                        Some((round, until)) => {
                            was_of_use = true;
                            if until.is_some() {
                                self.answer(round, answers::role(&reply)).await;
                            }
                        }
                        None => break "it answers what was not asked".into(),
                    },
                    Err(why) => break why,
                },
                question = self.queue.recv() => {
                    let question = question?;
                    if asked.is_full() {
                        self.answer(question.round, NodeRole::Unknown("it answers nothing".into())).await;
                        continue;
                    }
                    asked.push(question.round, Some(question.until));
                    if let Err(why) = connection.send(&[&["ROLE"]]).await {
                        break why;
                    }
                }
                () = sleep_until(asked.due()) => {
                    self.give_up_overdue(&mut asked, "no answer").await;
                    if asked.is_silent() {
                        break format!("no answer for {} s", PATIENCE.as_secs());
                    }
                }
            }
        };
        *waiting = asked;
        Some(Ended { why, was_of_use })
    }

    async fn give_up_overdue(&self, waiting: &mut Pipeline<u64>, what: &str) {
        let overdue: Vec<u64> = waiting.overdue().copied().collect();
        for round in overdue {
            let why = format!("{what} within {} ms", QUESTION_LIMIT.as_millis());
            self.answer(round, NodeRole::Unknown(why)).await;
        }
    }

    async fn answer(&self, round: u64, role: NodeRole) {
        self.tell(Input::Node { round, role }).await;
    }

    async fn tell(&self, input: Input) {
        // Nobody hears it only when the agent ends.
        drop(self.events.send(Event::Input { master: self.master, input }).await);
    }
}
