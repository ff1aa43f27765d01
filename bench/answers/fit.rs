//! Logistic regression by Newton's method with a small ridge; a few figures, thousands of rows.

/// Where the limit is set.
#[derive(Clone, Copy)]
pub enum Limit {
    /// Above this part of the false rows.
    False(f64),
    /// Above this part of the true ones.
    True(f64),
}

/// Fits, prints the constants with the bias at which the limit is one half, and how many rows of
/// either kind are on their side of it.
///
/// `ANSWERS_ROWS` names a folder for the rows, to look at them with something else.
pub fn report<const N: usize>(name: &str, rows: &[([f32; N], bool)], limit: Limit) {
    println!("{name}:");
    if let Ok(folder) = std::env::var("ANSWERS_ROWS") {
        let line = |(row, truth): &([f32; N], bool)| {
            let row: Vec<String> = row.iter().map(ToString::to_string).collect();
            format!("{},{}\n", u8::from(*truth), row.join(","))
        };
        let text: String = rows.iter().map(line).collect();
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.csv")), text).unwrap();
    }
    let weights = fit(rows);
    let score =
        |row: &[f32; N]| row.iter().zip(&weights).map(|(x, w)| f64::from(*x) * w).sum::<f64>();
    let mut bad: Vec<f64> = rows.iter().filter(|(_, t)| !t).map(|(row, _)| score(row)).collect();
    bad.sort_by(f64::total_cmp);
    let mut good: Vec<f64> = rows.iter().filter(|(_, t)| *t).map(|(row, _)| score(row)).collect();
    good.sort_by(f64::total_cmp);
    let at = |list: &[f64], part: f64| list[((list.len() - 1) as f64 * part) as usize];
    let cut = match limit {
        Limit::False(part) => at(&bad, part),
        Limit::True(part) => at(&good, part),
    };
    let refused = bad.iter().filter(|s| **s <= cut).count() as f64 / bad.len() as f64;
    let kept = good.iter().filter(|s| **s > cut).count() as f64 / good.len() as f64;
    println!("  {} false and {} true rows", bad.len(), good.len());
    println!(
        "  at the bias below, {:.1} % of the false are below and {:.1} % of the true above",
        100.0 * refused,
        100.0 * kept
    );
    println!("  as fitted, the bias is {:.3}", weights[N]);
    let list: Vec<String> = weights[..N].iter().map(|w| format!("{w:.3}")).collect();
    println!("  bias: {:.3}, weights: [{}]", -cut, list.join(", "));
}

/// Fits weights by which, of each group's rows, one of the true ones is chosen: the softmax over the
/// group, by Newton's method. Prints them, and how often the first row is a true one. `ridge` is that
/// of figures of deviation 1.
pub fn report_choice<const N: usize>(name: &str, groups: &[Vec<([f32; N], bool)>], ridge: f64) {
    let count = groups.iter().map(Vec::len).sum::<usize>() as f64;
    let rows = || groups.iter().flatten().map(|(row, _)| row);
    let ridges: Vec<f64> = (0..N)
        .map(|i| {
            let mean = rows().map(|row| f64::from(row[i])).sum::<f64>() / count;
            let squares = rows().map(|row| (f64::from(row[i]) - mean).powi(2)).sum::<f64>();
            ridge * (squares / count).max(1e-9)
        })
        .collect();
    let mut weights = vec![0.0; N];
    let sum = |row: &[f32; N], weights: &[f64]| -> f64 {
        row.iter().zip(weights).map(|(x, w)| f64::from(*x) * w).sum()
    };
    let is_open = |group: &&Vec<([f32; N], bool)>| {
        group.iter().any(|(_, truth)| *truth) && group.iter().any(|(_, truth)| !truth)
    };
    for _ in 0..60 {
        let mut gradient: Vec<f64> = weights.iter().zip(&ridges).map(|(w, r)| w * r).collect();
        let mut hessian = vec![vec![0.0; N]; N];
        (0..N).for_each(|i| hessian[i][i] = ridges[i]);
        for group in groups.iter().filter(is_open) {
            let sums: Vec<f64> = group.iter().map(|(row, _)| sum(row, &weights)).collect();
            let most = sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let parts: Vec<f64> = sums.iter().map(|s| (s - most).exp()).collect();
            let all: f64 = parts.iter().sum();
            let truth: f64 =
                parts.iter().zip(group).filter(|(_, (_, t))| *t).map(|(part, _)| part).sum();
            let mut mean = vec![0.0; N];
            for (part, (row, is_true)) in parts.iter().zip(group) {
                let p = part / all;
                let error = p - if *is_true { part / truth } else { 0.0 };
                for i in 0..N {
                    let x = f64::from(row[i]);
                    mean[i] += p * x;
                    gradient[i] += error * x;
                    for j in 0..N {
                        hessian[i][j] += p * x * f64::from(row[j]);
                    }
                }
            }
            for i in 0..N {
                for j in 0..N {
                    hessian[i][j] -= mean[i] * mean[j];
                }
            }
        }
        // The curvature that the true rows take away is left out, so that every step goes down.
        let step = solve(hessian, gradient);
        weights.iter_mut().zip(&step).for_each(|(w, s)| *w -= s);
        if step.iter().all(|s| s.abs() < 1e-6) {
            break;
        }
    }
    let first = groups.iter().filter(|group| {
        let best = group.iter().max_by(|a, b| sum(&a.0, &weights).total_cmp(&sum(&b.0, &weights)));
        best.is_some_and(|(_, truth)| *truth)
    });
    let share = 100.0 * first.count() as f64 / groups.len() as f64;
    println!("{name}: {} groups, the first is a true one in {share:.1} %", groups.len());
    let list: Vec<String> = weights.iter().map(|w| format!("{w:.3}")).collect();
    println!("  weights: [{}]", list.join(", "));
}

/// Weights, and the bias behind them.
fn fit<const N: usize>(rows: &[([f32; N], bool)]) -> Vec<f64> {
    const RIDGE: f64 = 1e-2;
    let size = N + 1;
    let mut weights = vec![0.0; size];
    for _ in 0..50 {
        let mut gradient = vec![0.0; size];
        let mut hessian = vec![vec![0.0; size]; size];
        for (row, truth) in rows {
            let x: Vec<f64> = row.iter().map(|x| f64::from(*x)).chain([1.0]).collect();
            let sum: f64 = x.iter().zip(&weights).map(|(x, w)| x * w).sum();
            let p = 1.0 / (1.0 + (-sum).exp());
            let error = p - f64::from(u8::from(*truth));
            for i in 0..size {
                gradient[i] += error * x[i];
                for j in 0..size {
                    hessian[i][j] += p * (1.0 - p) * x[i] * x[j];
                }
            }
        }
        for i in 0..size {
            gradient[i] += RIDGE * weights[i];
            hessian[i][i] += RIDGE;
        }
        let step = solve(hessian, gradient);
        weights.iter_mut().zip(&step).for_each(|(w, s)| *w -= s);
        if step.iter().all(|s| s.abs() < 1e-9) {
            break;
        }
    }
    weights
}

/// Gauss's elimination with pivots.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|i, j| a[*i][column].abs().total_cmp(&a[*j][column].abs()));
        let pivot = pivot.unwrap();
        a.swap(column, pivot);
        b.swap(column, pivot);
        for row in column + 1..n {
            let factor = a[row][column] / a[column][column];
            let (above, below) = a.split_at_mut(row);
            let terms = below[0][column..].iter_mut().zip(&above[column][column..]);
            terms.for_each(|(x, y)| *x -= factor * y);
            b[row] -= factor * b[column];
        }
    }
    for row in (0..n).rev() {
        let rest: f64 = (row + 1..n).map(|k| a[row][k] * b[k]).sum();
        b[row] = (b[row] - rest) / a[row][row];
    }
    b
}
