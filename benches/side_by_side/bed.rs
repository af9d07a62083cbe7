//! Where subjects take turns.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::Result;
use crate::load::Place;
use crate::measure::{Meter, pin};
use crate::rig::certificate::Certificate;
use crate::rig::child::agent_listener;
use crate::subject::{Relay, Subject};
use crate::workload::{Load, Workload};

/// Who is measured, on which cores, and for how long.
pub(crate) struct Bed {
    pub(crate) relays: Vec<Relay>,
    pub(crate) lameduck: PathBuf,
    /// What subjects show to clients over TLS.
    pub(crate) certificate: Certificate,
    pub(crate) load_core: usize,
    pub(crate) subject_core: usize,
    /// Turns of each subject.
    pub(crate) rounds: usize,
    /// The length of a turn, unless the workload needs more.
    pub(crate) length: Duration,
}

/// What the turns of one subject gave: for each turn a value for each figure.
pub(crate) type Turns = Vec<Vec<f64>>;

/// What a workload has shown.
pub(crate) struct Ran {
    pub(crate) turns: Vec<(Relay, Turns)>,
    /// Who could not do it, and why.
    pub(crate) failed: Vec<(Relay, String)>,
}

/// A subject in a workload.
struct Runner<'b> {
    relay: Relay,
    bed: &'b Bed,
    workload: &'b Workload,
    /// The load goes before the subject: its sockets end first.
    running: Option<(Box<dyn Load>, Subject)>,
    turns: Turns,
    failed: Option<String>,
}

impl Bed {
    /// The subjects of a workload take turns, so that what disturbs the machine for a while disturbs all of them;
    /// the order moves on by one each round.
    pub(crate) fn run(&self, workload: &Workload) -> Ran {
        let mut runners: Vec<Runner<'_>> = self
            .relays
            .iter()
            .filter(|relay| relay.suits(workload))
            .map(|&relay| Runner {
                relay,
                bed: self,
                workload,
                running: None,
                turns: Vec::new(),
                failed: None,
            })
            .collect();
        for round in 0..self.rounds.min(workload.most_rounds) {
            if !runners.is_empty() {
                runners.rotate_left(usize::from(round > 0));
            }
            for runner in &mut runners {
                runner.take_turn();
            }
        }
        runners.sort_by_key(|runner| Relay::ALL.iter().position(|&other| other == runner.relay));
        let mut ran = Ran {
            turns: Vec::new(),
            failed: Vec::new(),
        };
        for runner in runners {
            match runner.failed {
                None => ran.turns.push((runner.relay, runner.turns)),
                Some(why) => ran.failed.push((runner.relay, why)),
            }
        }
        ran
    }
}

impl Runner<'_> {
    /// A subject that has failed once takes no more turns.
    fn take_turn(&mut self) {
        if self.failed.is_some() {
            return;
        }
        match self.try_turn() {
            Ok(turn) => self.turns.push(turn),
            Err(error) => {
                self.failed = Some(match &mut self.running {
                    Some((_, subject)) => format!("{error} ({})", subject.state()),
                    // It has been said already.
                    None => error.to_string(),
                });
                self.running = None;
            }
        }
    }

    fn try_turn(&mut self) -> Result<Vec<f64>> {
        let length = self.bed.length.max(self.workload.least);
        if self.running.is_none() {
            let (load, subject) = self.running.insert(self.start()?);
            // Caches, pools and buffers fill in a turn that does not count.
            if self.workload.most_rounds > 1 {
                load.turn(&Meter::new(subject.pid()), length / 4)?;
            }
        }
        let Some((load, subject)) = &mut self.running else {
            return Err("it was not started".into());
        };
        let turn = load.turn(&Meter::new(subject.pid()), length)?;
        if self.workload.fresh {
            self.running = None;
        }
        Ok(turn)
    }

    /// A subject on its core, and the load for it on this one.
    fn start(&self) -> Result<(Box<dyn Load>, Subject)> {
        let agent = agent_listener()?;
        // A child has its parent's cores: so it is on its own from its first instruction.
        pin(self.bed.subject_core)?;
        let subject = Subject::start(
            self.relay,
            self.workload,
            agent.local_addr()?,
            &self.bed.lameduck,
            &self.bed.certificate,
        );
        pin(self.bed.load_core)?;
        let mut subject = subject?;
        let place = Place {
            subject: subject.address,
            agent,
            tls: self
                .workload
                .tls
                .then(|| Arc::clone(&self.bed.certificate.clients)),
        };
        match (self.workload.open)(place) {
            Ok(load) => Ok((load, subject)),
            Err(error) => Err(format!("{error} ({})", subject.state()).into()),
        }
    }
}
