//! Programs that a model might write, in the sandbox: right ones, wrong ones and hostile ones.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test or benchmark may fail loudly"
)]

mod support;

use libtest_mimic::{Arguments, Failed, Trial};
use std::time::Duration;
use vdb::sandbox::{Ended, Limits, Run, Sandbox, Stopped};

fn main() {
    let arguments = Arguments::from_args();
    let test = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok::<(), Failed>(())
        })
    };
    let tests = vec![
        test("values_are_those_of_python", values),
        test("hostile_programs_end_and_harm_nothing", hostile),
        test("a_child_that_dies_is_replaced", replaced),
        test("threads_share_a_sandbox", shared),
        test("programs_from_the_command_line", command_line),
        test("gsm_hard", gsm_hard).with_ignored_flag(support::shared_data().is_none()),
    ];
    libtest_mimic::run(&arguments, tests).exit();
}

fn sandbox(milliseconds: u64) -> Sandbox {
    let mut limits = Limits::default();
    limits.time = Duration::from_millis(milliseconds);
    Sandbox::new(env!("CARGO_BIN_EXE_vdb"), ["sandbox"]).limits(limits)
}

fn value(run: &Run) -> (&str, Option<f64>) {
    match &run.ended {
        Ended::Value(value) => (value.text.as_str(), value.number),
        other => panic!("{other:?}"),
    }
}

/// By CPython 3.11.
fn values() {
    let sandbox = sandbox(5000);
    let text = |program: &str| value(&sandbox.run(program).unwrap()).0.to_owned();
    assert_eq!(text("import math\nmath.factorial(17)"), "355687428096000");
    assert_eq!(text("2 ** 100"), "1267650600228229401496703205376");
    assert_eq!(text("def solution():\n    return 7 / 2\n"), "3.5");
    assert_eq!(text("def solution( ):\n    x = [1, 2]\n    return sum(x)"), "3");
    assert_eq!(text("'a\"b'"), "a\"b");
    assert_eq!(text("x = 1"), "None");
    assert_eq!(text("[1, 'a', None, 1.0, True]"), "[1, 'a', None, 1.0, True]");
    let run = sandbox.run("print('seen', 1, sep='-')\nTrue").unwrap();
    assert_eq!((value(&run), run.output.as_str()), (("True", Some(1.0)), "seen-1\n"));
    let run = sandbox.run("print('seen')\n1 / 0").unwrap();
    let Ended::Failed(traceback) = &run.ended else { panic!("{run:?}") };
    assert!(
        traceback.contains("line 2") && traceback.ends_with("ZeroDivisionError: division by zero")
    );
    assert_eq!(run.output, "seen\n");
    // Nothing of a program is there for the next one.
    sandbox.run("x = 5").unwrap();
    let run = sandbox.run("x").unwrap();
    assert!(matches!(&run.ended, Ended::Failed(said) if said.contains("NameError")), "{run:?}");
}

/// What nests or repeats too far to be written down.
fn made() -> Vec<String> {
    let nested = |open: &str, middle: &str, close: &str, n: usize| {
        format!("{}{middle}{}", open.repeat(n), close.repeat(n))
    };
    vec![
        nested("(", "", ")", 30_000),
        nested("[", "", "]", 30_000),
        nested("f(", "", ")", 20_000),
        nested("f\"{", "1", "}\"", 2000),
        nested("-", "1", "", 60_000),
        nested("not ", "1", "", 15_000),
        nested("lambda: ", "1", "", 8000),
        nested("1 if 1 else ", "1", "", 5000),
        nested("1+", "1", "", 30_000),
        nested("a.", "b", "", 20_000),
        nested("", "x", "[0]", 20_000),
        (0..300).map(|i| format!("{}if 1:\n", " ".repeat(i))).collect::<String>()
            + &" ".repeat(300)
            + "1",
        "\0\u{1}".to_owned(),
        "\"\"\"a".to_owned(),
    ]
}

fn hostile() {
    let limits = Limits::default();
    let sandbox = sandbox(300);
    let list = include_str!("sandbox/hostile.txt");
    let programs: Vec<(&str, &str)> =
        list.split("#--- ").skip(1).map(|part| part.split_once('\n').unwrap()).collect();
    assert!(programs.len() >= 60, "{}", programs.len());
    let unharmed = || {
        let run = sandbox.run("1 + 1").unwrap();
        assert_eq!(value(&run).0, "2");
    };
    for (expected, program) in &programs {
        let run = sandbox.run(program).unwrap();
        let fits = |expected: &str| match &run.ended {
            Ended::Value(value) => {
                expected == "value" || expected.strip_prefix("value ") == Some(&value.text)
            }
            // The last line of a traceback names the exception.
            Ended::Failed(traceback) => {
                let last = traceback.lines().last().unwrap_or_default();
                let name = last.split([':', ' ']).next().unwrap_or_default();
                expected == "refused" || name.rsplit('.').next() == Some(expected)
            }
            Ended::Stopped(Stopped::Time) => expected == "time",
            Ended::Stopped(Stopped::Memory) => expected == "memory",
            Ended::Stopped(Stopped::Output) => expected == "output",
            Ended::Stopped(_) => false,
        };
        let ended = *expected == "any" || expected.split('|').any(fits);
        assert!(ended, "{program}\nexpected {expected}, found {:?}", run.ended);
        assert!(run.output.len() <= limits.output + 1024, "{program}: {}", run.output.len());
        // The time is a limit, not a measure of speed: half a second of grace, and the way there.
        assert!(run.time < Duration::from_secs(20), "{program}: {:?}", run.time);
        unharmed();
    }
    for program in made() {
        let run = sandbox.run(&program).unwrap();
        let start: String = program.chars().take(20).collect();
        let is_refused = matches!(run.ended, Ended::Failed(_) | Ended::Stopped(_));
        assert!(
            is_refused || program.starts_with("1+") || program.starts_with('-'),
            "{start}: {:?}",
            run.ended
        );
        unharmed();
    }
    let long = "1\n".repeat(40_000);
    assert_eq!(sandbox.run(&long).unwrap().ended, Ended::Stopped(Stopped::Program));
    println!("{} programs", programs.len() + made().len() + 1);
}

fn replaced() {
    let sandbox = sandbox(300);
    // A list that is held, and is too large for a second one like it.
    for _ in 0..3 {
        assert_eq!(value(&sandbox.run("len([0] * 10**7)").unwrap()).0, "10000000");
        let run = sandbox.run("[0] * 10**9").unwrap();
        assert_eq!(run.ended, Ended::Stopped(Stopped::Memory));
        let run = sandbox.run("while True: pass").unwrap();
        assert_eq!(run.ended, Ended::Stopped(Stopped::Time));
    }
    let error = Sandbox::new("/nowhere/vdb", ["sandbox"]).run("1").unwrap_err();
    assert!(error.to_string().contains("cannot start"), "{error}");
    // A program that is no sandbox.
    let run = Sandbox::new("true", Vec::<String>::new()).run("1").unwrap();
    assert_eq!(run.ended, Ended::Stopped(Stopped::Crash));
}

fn shared() {
    let sandbox = sandbox(5000);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let sandbox = &sandbox;
            scope.spawn(move || {
                for i in 0..50 {
                    let run = sandbox.run(&format!("{thread} * 1000 + {i}")).unwrap();
                    assert_eq!(value(&run).0, (thread * 1000 + i).to_string());
                }
            });
        }
    });
}

fn command_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    file("right.py", "print('hello')\n6 * 7\n");
    file("wrong.py", "x = [\n");
    file("long.py", "while True: pass\n");
    let run = |name: &str| support::vdb(folder.path(), &["run-program", name, "--seconds", "0.5"]);
    assert_eq!(run("right.py"), (0, "hello\n42\n".to_owned(), String::new()));
    let (status, out, err) = run("wrong.py");
    assert!(status == 1 && out.is_empty() && err.contains("SyntaxError"), "{status} {out} {err}");
    let (status, _, err) = run("long.py");
    assert!(status == 1 && err.contains("longer than it may"), "{status} {err}");
    let (status, _, err) = run("nothing.py");
    assert!(status == 1 && err.contains("no such file"), "{status} {err}");
    let json = ["run-program", "right.py", "--json"];
    let (_, out, _) = support::vdb(folder.path(), &json);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told["value"], &told["number"]), (&"42".into(), &42.0.into()));
}

/// PAL's own programs and the answers that belong to them (GSM-hard, Gao et al. 2023).
fn gsm_hard() {
    let path = support::shared_data().unwrap().join("pal/gsmhard_programs.jsonl");
    let sandbox = sandbox(5000);
    let (mut right, mut all) = (0, 0);
    let mut slowest = Duration::ZERO;
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let run = sandbox.run(row["code"].as_str().unwrap()).unwrap();
        let target = row["target"].as_f64().unwrap();
        all += 1;
        let found = value(&run).1.unwrap();
        right += usize::from((found - target).abs() <= 1e-3 * target.abs());
        // The first one starts the child.
        slowest = slowest.max(if all > 1 { run.time } else { Duration::ZERO });
    }
    println!("{right} of {all} right, the slowest after the first {slowest:?}");
    assert_eq!((right, all), (660, 660));
}
