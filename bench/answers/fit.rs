//! Logistic regression by Newton's method with a small ridge; a few figures, thousands of rows.

/// Fits, prints the constants with the bias at which `wanted` of the false rows score below one half,
/// and how many of the true ones score above it.
///
/// `ANSWERS_ROWS` names a folder for the rows, to look at them with something else.
pub fn report<const N: usize>(name: &str, rows: &[([f32; N], bool)], wanted: f64) {
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
    let cut = bad[((bad.len() - 1) as f64 * wanted) as usize];
    let good: Vec<f64> = rows.iter().filter(|(_, t)| *t).map(|(row, _)| score(row)).collect();
    let kept = good.iter().filter(|s| **s > cut).count() as f64 / good.len() as f64;
    println!("  {} false and {} true rows", bad.len(), good.len());
    println!(
        "  at the bias below, {:.1} % of the false are below and {:.1} % of the true above",
        100.0 * wanted,
        100.0 * kept
    );
    println!("  as fitted, the bias is {:.3}", weights[N]);
    let list: Vec<String> = weights[..N].iter().map(|w| format!("{w:.3}")).collect();
    println!("  bias: {:.3}, weights: [{}]", -cut, list.join(", "));
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
