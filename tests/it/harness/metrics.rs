//! A scrape of the metrics, read back, and the rule that it must satisfy.

use std::collections::{BTreeMap, BTreeSet};

/// One scrape.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// Every sample: name, labels, value.
    pub samples: Vec<Sample>,
    /// The type of each family.
    pub types: BTreeMap<String, String>,
    /// The families with a help text.
    pub helps: BTreeSet<String>,
}

/// One sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The name with its suffix.
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

impl Scrape {
    /// Reads the Prometheus text format.
    pub fn parse(text: &str) -> Scrape {
        let mut scrape = Scrape::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["#", "TYPE", name, kind] => {
                    let before = scrape.types.insert(name.to_owned(), kind.to_owned());
                    assert!(before.is_none(), "{name} has two TYPE lines");
                }
                ["#", "HELP", name, ..] => {
                    scrape.helps.insert(name.to_owned());
                }
                ["#", ..] => {}
                _ => scrape.samples.push(Sample::parse(line)),
            }
        }
        scrape
    }

    /// The sum of all samples of that name that carry these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// The samples of that name that carry these labels.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        let carries = move |sample: &&Sample| {
            labels
                .iter()
                .all(|(name, value)| sample.labels.get(*name).is_some_and(|v| v == value))
        };
        self.samples
            .iter()
            .filter(move |sample| sample.name == name)
            .filter(carries)
    }

    /// Sessions open now, of a kind or, for `""`, of any.
    pub fn open(&self, kind: &str) -> f64 {
        match kind {
            "" => self.sum("lameduck_sessions_open", &[]),
            kind => self.sum("lameduck_sessions_open", &[("kind", kind)]),
        }
    }

    /// The phase whose value is 1.
    pub fn phase(&self) -> String {
        let current = self
            .matching("lameduck_phase", &[])
            .filter(|sample| sample.value == 1.0);
        let phases: Vec<&str> = current
            .map(|sample| sample.labels["phase"].as_str())
            .collect();
        assert_eq!(phases.len(), 1, "one phase is current, not {phases:?}");
        phases[0].to_owned()
    }

    /// `opened = open + ended`, per listener and kind; says where it does not hold.
    pub fn check_balance(&self) -> Result<(), String> {
        let mut ledgers: BTreeMap<(String, String), [f64; 3]> = BTreeMap::new();
        let columns = [
            "sessions_opened_total",
            "sessions_open",
            "sessions_ended_total",
        ]
        .into_iter();
        for (column, name) in columns.enumerate() {
            for sample in self.matching(&format!("lameduck_{name}"), &[]) {
                let key = (
                    sample.labels["listener"].clone(),
                    sample.labels["kind"].clone(),
                );
                ledgers.entry(key).or_default()[column] += sample.value;
            }
        }
        for ((listener, kind), [opened, open, ended]) in ledgers {
            if opened != open + ended || open < 0.0 {
                return Err(format!(
                    "{listener}/{kind}: opened {opened} is not open {open} + ended {ended}"
                ));
            }
        }
        Ok(())
    }
}

impl Sample {
    fn parse(line: &str) -> Sample {
        let (series, value) = line.rsplit_once(' ').expect("a series and its value");
        let value = value
            .parse()
            .unwrap_or_else(|_| panic!("not a value in {line:?}"));
        let Some((name, labels)) = series.split_once('{') else {
            return Sample {
                name: series.trim().to_owned(),
                labels: BTreeMap::new(),
                value,
            };
        };
        let labels = labels.strip_suffix('}').expect("a closing brace");
        let pairs = labels
            .split("\",")
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once("=\"").expect("a label");
                (
                    name.trim().to_owned(),
                    value.trim_end_matches('"').to_owned(),
                )
            });
        Sample {
            name: name.to_owned(),
            labels: pairs.collect(),
            value,
        }
    }
}
