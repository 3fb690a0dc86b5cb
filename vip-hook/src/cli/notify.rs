//! `notify`: hands the event to the agent and says what came of it.

use std::env;

use super::{DONE, MISUSE, NotifyArgs, RETRY, moves, say};
use crate::config::{Config, WithoutAgent};
use crate::control::{self, CallError, Notification, Request};

/// The event as the agent is told of it.
pub(super) fn request(args: &NotifyArgs) -> Request {
    let variable = |name: &str| env::var(name).ok().filter(|text| !text.is_empty());
    Request::Notify(Notification {
        master: args.master_name.clone(),
        role: args.role.name().into(),
        state: args.state.clone(),
        from_ip: args.from_ip.clone(),
        from_port: args.from_port,
        to_ip: args.to_ip.clone(),
        to_port: args.to_port,
        // An epoch that is none says nothing; the event counts without it.
        config_epoch: variable("SENTINEL_CONFIG_EPOCH").and_then(|text| text.parse().ok()),
        event_id: variable("SENTINEL_EVENT_ID"),
        reason: variable("SENTINEL_REASON"),
    })
}

/// Tells the agent; without one, does what the configuration asks for.
pub(super) fn run(config: &Config, args: &NotifyArgs) -> u8 {
    match control::call(&config.socket, &request(args)) {
        Ok(reply) => say(&reply),
        Err(error @ CallError::Absent { .. }) if config.without_agent == WithoutAgent::Move => {
            let Some(master) = config.master(&args.master_name) else {
                println!("not this host's affair: no master '{}' in the configuration", args.master_name);
                return DONE;
            };
            if args.to_ip.parse::<std::net::IpAddr>().is_err() {
                eprintln!(
                    "'{}' is no address: with 'sentinel announce-hostnames no' Sentinel gives one",
                    args.to_ip
                );
                return MISUSE;
            }
            match moves::run(config, master, args) {
                Ok(text) => {
                    println!("without an agent: {text}");
                    DONE
                }
                Err(text) => {
                    eprintln!("{error}; {text}");
                    RETRY
                }
            }
        }
        Err(error) => {
            eprintln!("{error}");
            RETRY
        }
    }
}
