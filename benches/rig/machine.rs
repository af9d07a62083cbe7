//! The facts of the machine.

use std::fmt;
use std::fs;

use serde::Serialize;

use super::measure::cores;
use crate::Result;

/// Where this is.
#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) kernel: String,
    pub(crate) cores: usize,
}

impl Machine {
    /// This one.
    pub(crate) fn this() -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let named = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        Ok(Self {
            processor: named
                .unwrap_or("unknown")
                .trim_start_matches([' ', '\t', ':'])
                .to_owned(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            cores: cores()?.len(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            processor,
            kernel,
            cores,
        } = self;
        write!(f, "{processor}, {cores} cores, Linux {kernel}")
    }
}

/// The core of the load and the core of what it measures.
pub(crate) fn two_cores() -> Result<(usize, usize)> {
    match cores()?[..] {
        [first, second, ..] => Ok((first, second)),
        [only] => {
            eprintln!(
                "only one core: the load disturbs what it measures, and the figures mean little"
            );
            Ok((only, only))
        }
        [] => Err("this process may use no core".into()),
    }
}
