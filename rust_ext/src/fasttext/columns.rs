//! The columns that a model gives: labels and scores, and what is derived from them.

use std::cmp::Reverse;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{Float32Builder, StringBuilder};

use super::Scored;
use super::group::Settings;
use super::units::Unit;
use crate::error::{Error, Result};
use crate::script;

impl Settings {
    /// Whether the probabilities of all labels are wanted.
    #[must_use]
    pub fn needs_all(&self) -> bool {
        self.score.is_some() || !self.labels.is_empty() || self.grade || self.unit != Unit::Document
    }
}

/// Columns of texts and numbers under their names.
type Named<T> = (String, T);

/// Labels that the settings name, by their number in a model.
#[derive(Debug)]
pub struct Layout {
    /// The label whose probability is the score.
    score: Option<usize>,
    named: Vec<usize>,
    /// The labels as numbers.
    grades: Vec<f64>,
}

impl Layout {
    /// Find the labels of the settings.
    ///
    /// # Errors
    /// `Error::Config` for settings that do not fit the labels of the model.
    pub fn new(settings: &Settings, labels: &[String]) -> Result<Self> {
        let name = &settings.name;
        let number_of = |label: &String| {
            labels.iter().position(|other| other == label).ok_or_else(|| {
                let some: Vec<_> = labels.iter().take(20).map(String::as_str).collect();
                Error::Config(format!("{name} has no label {label}; there are {}", some.join(", ")))
            })
        };
        if settings.top == 0 || settings.top > labels.len() {
            let most = labels.len();
            return Err(Error::Config(format!("{name}.top is between 1 and {most}, not: {}", settings.top)));
        }
        Ok(Self {
            score: settings.score.as_ref().map(number_of).transpose()?,
            named: settings.labels.iter().map(number_of).collect::<Result<_>>()?,
            grades: if settings.grade { grades(name, labels)? } else { Vec::new() },
        })
    }
}

/// The columns of one model, row by row.
#[derive(Debug)]
pub struct Columns {
    layout: Arc<Layout>,
    /// Labels and scores, the most probable first.
    top: Vec<(Named<StringBuilder>, Named<Float32Builder>)>,
    /// Scores of the labels that the settings name.
    named: Vec<Named<Float32Builder>>,
    grade: Option<Named<Float32Builder>>,
    /// Language and script.
    script: Option<[Named<StringBuilder>; 2]>,
    /// Labels of parts, and the share of those of the most probable label.
    mix: Option<(Named<StringBuilder>, Named<Float32Builder>)>,
}

impl Columns {
    /// Columns with no rows.
    #[must_use]
    pub fn new(settings: &Settings, layout: Arc<Layout>) -> Self {
        let name = &settings.name;
        let text = |stem: &str| (format!("{name}.{stem}"), StringBuilder::new());
        let number = |stem: &str| (format!("{name}.{stem}"), Float32Builder::new());
        let place = |stem: &str, place: usize| match place {
            0 => stem.to_owned(),
            _ => format!("{stem}_{}", place + 1),
        };
        let top = (0..settings.top).map(|at| (text(&place("label", at)), number(&place("score", at))));
        Self {
            layout,
            top: top.collect(),
            named: settings.labels.iter().map(|label| number(&format!("score_{label}"))).collect(),
            grade: settings.grade.then(|| number("grade")),
            script: settings.script.then(|| [text("code"), text("script")]),
            mix: settings.mix.then(|| (text("mix"), number("main_frac"))),
        }
    }

    /// Append a row: the most probable labels, the probabilities of all where they are known, and bytes of parts by
    /// label. Nulls where `found` is empty.
    pub fn push(
        &mut self,
        text: &str,
        labels: &[String],
        found: &[Scored],
        probabilities: &[f32],
        shares: &mut [(usize, usize)],
    ) {
        let known = if found.is_empty() { &[] } else { probabilities };
        for (place, (label, score)) in self.top.iter_mut().enumerate() {
            let scored = found.get(place);
            label.1.append_option(scored.and_then(|(label, _)| labels.get(*label)));
            let own = self.layout.score.filter(|_| place == 0).map(|label| known.get(label).copied());
            score.1.append_option(own.unwrap_or(scored.map(|(_, score)| *score)));
        }
        for (label, (_, score)) in self.layout.named.iter().zip(&mut self.named) {
            score.append_option(known.get(*label).copied());
        }
        if let Some((_, grade)) = &mut self.grade {
            grade.append_option(mean(&self.layout.grades, known));
        }
        let best = found.first().map(|(label, _)| *label);
        if let Some([(_, code), (_, script)]) = &mut self.script {
            let label = best.and_then(|label| labels.get(label)).map(String::as_str);
            let (language, named) = label.map_or((None, None), |label| {
                let (language, script) = script::cut(label);
                (Some(language), script)
            });
            code.append_option(language);
            script.append_option(named.or_else(|| label.and_then(|_| script::of(text))));
        }
        if let Some(((_, mix), (_, main))) = &mut self.mix {
            mix.append_option(best.map(|_| write_mix(labels, shares)));
            main.append_option(best.and_then(|best| share_of(best, shares)));
        }
    }

    /// The columns, and none of their rows any more.
    pub fn finish(&mut self) -> Vec<(String, ArrayRef)> {
        let mut out: Vec<(String, ArrayRef)> = Vec::new();
        let text = |(name, column): &mut Named<StringBuilder>| -> (String, ArrayRef) {
            (name.clone(), Arc::new(column.finish()))
        };
        let number = |(name, column): &mut Named<Float32Builder>| -> (String, ArrayRef) {
            (name.clone(), Arc::new(column.finish()))
        };
        for (label, score) in &mut self.top {
            out.extend([text(label), number(score)]);
        }
        out.extend(self.named.iter_mut().map(number));
        out.extend(self.grade.iter_mut().map(number));
        out.extend(self.script.iter_mut().flatten().map(text));
        if let Some((mix, main)) = &mut self.mix {
            out.extend([text(mix), number(main)]);
        }
        out
    }
}

fn grades(name: &str, labels: &[String]) -> Result<Vec<f64>> {
    let numbers = labels.iter().map(|label| label.parse().ok().filter(|number: &f64| number.is_finite()));
    numbers.collect::<Option<_>>().ok_or_else(|| {
        Error::Config(format!("{name}.grade needs labels that are numbers, not: {}", labels.join(", ")))
    })
}

/// The mean of the labels as numbers; their probabilities need not add up to one.
fn mean(numbers: &[f64], probabilities: &[f32]) -> Option<f32> {
    let pairs = || numbers.iter().zip(probabilities);
    let total = pairs().fold(0.0, |sum, (_, &share)| sum + f64::from(share));
    let sum = pairs().fold(0.0, |sum, (number, &share)| sum + number * f64::from(share));
    (total > 0.0).then(|| (sum / total) as f32)
}

fn share_of(label: usize, shares: &[(usize, usize)]) -> Option<f32> {
    let total: usize = shares.iter().map(|(_, num_bytes)| num_bytes).sum();
    let own = shares.iter().find(|(other, _)| *other == label).map_or(0, |(_, num_bytes)| *num_bytes);
    (total > 0).then(|| (own as f64 / total as f64) as f32)
}

/// The shares of labels as a JSON object, the greatest first.
fn write_mix(labels: &[String], shares: &mut [(usize, usize)]) -> String {
    let total: usize = shares.iter().map(|(_, num_bytes)| num_bytes).sum();
    shares.sort_unstable_by_key(|&(label, num_bytes)| (Reverse(num_bytes), label));
    let mut out = String::from("{");
    for (index, (label, num_bytes)) in shares.iter().enumerate() {
        let name = labels.get(*label).map_or("", String::as_str);
        let name = serde_json::Value::from(name);
        let comma = if index == 0 { "" } else { "," };
        let share = *num_bytes as f64 / total as f64;
        let _ = write!(out, "{comma}{name}:{share:.3}");
    }
    out.push('}');
    out
}
