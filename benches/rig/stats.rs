//! Medians, spreads and ratios.

/// The value below which this share of the values lies.
pub(crate) fn at(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let place = share * (values.len() as f64 - 1.0);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place among the values"
    )]
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    match (values.get(below), values.get(above)) {
        (Some(low), Some(high)) => low + (high - low) * place.fract(),
        _ => f64::NAN,
    }
}

/// The median of a figure over the turns.
pub(crate) fn median(turns: &[Vec<f64>], figure: usize) -> f64 {
    at(turns.iter().map(|turn| turn[figure]), 0.5)
}

/// The lower and the upper end of the middle half.
pub(crate) fn middle_half(turns: &[Vec<f64>], figure: usize) -> (f64, f64) {
    let of = |share| at(turns.iter().map(|turn| turn[figure]), share);
    (of(0.25), of(0.75))
}

/// How many times the other's: the median over the rounds, each against the other's turn in the same round, since
/// a disturbance of the machine often lasts longer than a round.
pub(crate) fn ratio(turns: &[Vec<f64>], to: &[Vec<f64>], figure: usize) -> f64 {
    let each = turns.iter().zip(to).map(|(a, b)| a[figure] / b[figure]);
    at(each, 0.5)
}

/// With as many digits as tell something.
pub(crate) fn shown(value: f64) -> String {
    if value.is_nan() {
        return "-".to_owned();
    }
    match value.abs() {
        size if size >= 100.0 => {
            let whole = format!("{value:.0}");
            let (sign, digits) = whole.split_at(usize::from(value < 0.0));
            let mut grouped = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at).is_multiple_of(3) {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            format!("{sign}{grouped}")
        }
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
