//! One run: a deployment settles, faults rage, then there is peace, after which everybody must
//! agree within the plan's bound and stay so.

use super::checks::{Rule, Violation};
use super::faults::Nemesis;
use super::plan::{Plan, Scenario};
use super::time::{MS, Us};
use super::world::World;

/// How a run went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Its scenario.
    pub scenario: Scenario,
    /// Failovers that were completed.
    pub failovers: u64,
    /// The time that passed in the world, in milliseconds.
    pub virtual_ms: u64,
    /// How long it took until everybody agreed, and how long it may have taken, in milliseconds.
    pub agreed_in_ms: (u64, u64),
    /// It ended early by what the original does on its own account.
    pub by_original: bool,
    /// The first rule that was broken.
    pub violation: Option<Violation>,
}

/// What a run prints while it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// What happens.
    pub events: bool,
    /// And what the Sentinels log.
    pub logs: bool,
}

/// Runs a plan. A panic is a broken rule as well.
pub fn run(plan: Plan, scenario: Scenario, trace: Trace) -> Outcome {
    let (seed, bound) = (plan.seed, plan.agreement_bound());
    let mut outcome = Outcome {
        seed,
        scenario,
        failovers: 0,
        virtual_ms: 0,
        agreed_in_ms: (0, bound / MS),
        by_original: false,
        violation: None,
    };
    let told = std::panic::catch_unwind(|| {
        let mut world = World::new(plan);
        (world.tracing, world.verbose) = (trace.events, trace.logs);
        let agreed_in = story(&mut world, scenario);
        (world.checks.failovers, world.age(), agreed_in, world.violation)
    });
    match told {
        Ok((failovers, age, agreed_in, violation)) => {
            outcome.failovers = failovers;
            outcome.virtual_ms = age / MS;
            outcome.agreed_in_ms.0 = agreed_in / MS;
            outcome.by_original = violation.as_ref().is_some_and(|v| v.rule == Rule::OriginalsOwn);
            outcome.violation = violation.filter(|_| !outcome.by_original);
        }
        Err(cause) => {
            let text = cause.downcast_ref::<String>().cloned();
            let text = text.or(cause.downcast_ref::<&str>().map(|t| t.to_string()));
            let text = format!("panic: {}", text.unwrap_or_default());
            outcome.violation = Some(Violation { at_ms: 0, rule: Rule::Sound, text });
        }
    }
    outcome
}

/// Settling, faults, peace. How long it took in peace until everybody agreed.
fn story(world: &mut World, scenario: Scenario) -> Us {
    world.start();
    settle(world);
    let mut nemesis = Nemesis::new(world);
    for _ in 0..world.plan.rounds {
        if world.violation.is_some() {
            return 0;
        }
        nemesis.round(world, scenario);
    }
    nemesis.peace(world);
    let agreed_in = await_agreement(world);
    // Nothing that still lingers may undo it.
    if world.violation.is_none() && world.plan.seed.is_multiple_of(4) {
        world.run(world.plan.agreement_bound() / 4);
        if let Err(why) = world.agreed()
            && world.violation.is_none()
        {
            world.violated(Rule::Agreement, format!("it was undone: {why}"));
        }
    }
    agreed_in
}

/// Lets Sentinels connect to everybody and hear of the nodes' roles.
fn settle(world: &mut World) {
    world.run(4 * world.plan.down_after_ms * MS + 20 * world.plan.delay.1);
}

fn await_agreement(world: &mut World) -> Us {
    let (began, bound) = (world.now, world.plan.agreement_bound());
    let step = world.plan.down_after_ms.max(200) * MS / 2;
    let mut last = world.agreed();
    while last.is_err() && world.violation.is_none() {
        if world.now - began > bound {
            let why = last.err().unwrap_or_default();
            world.violated(Rule::Agreement, format!("after {} ms of peace: {why}", bound / MS));
            break;
        }
        world.run(step);
        last = world.agreed();
    }
    world.now - began
}
