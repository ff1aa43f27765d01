//! Shared by the integration tests: where models and data are, and a small encoder without a model.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod gguf;

use libtest_mimic::{Failed, Trial};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;
use vdb::CollectionOptions;
use vdb::encode::{Embedding, Encoder, EncoderHandle, Fingerprint, InputKind, TokenEmbedding};
use vdb::model::{DEFAULT_DECODER, Device, FetchOptions, Models, Precision, fetch};
use vdb::text::tokenizer::{TokenSpans, Words};

/// The folder of shared data, where it lies beside the project.
pub fn shared_data() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    path.is_dir().then_some(path)
}

/// Whether the network must not be used.
pub fn offline() -> bool {
    std::env::var_os("VDB_OFFLINE").is_some_and(|v| !v.is_empty() && v != "0" && v != "false")
}

/// Runtime and default encoder, fetched as a user's set-up fetches them.
pub fn models() -> &'static Models {
    static MODELS: OnceLock<Models> = OnceLock::new();
    MODELS.get_or_init(|| {
        let models = Models::from_env().unwrap().device(Device::Cpu).threads(Some(2));
        let stop = AtomicBool::new(false);
        let options = FetchOptions { offline: false, on_event: &|_| {}, stop: &stop };
        for manifest in models.defaults().unwrap() {
            fetch(models.home(), manifest, &options).unwrap();
        }
        models
    })
}

/// The default encoder.
pub fn encoder(precision: Precision) -> EncoderHandle {
    let models = models().clone().precision(Some(precision));
    models.encoder(vdb::model::DEFAULT_ENCODER).unwrap()
}

/// The same with the default decoder.
pub fn models_with_decoder() -> &'static Models {
    static FETCHED: OnceLock<()> = OnceLock::new();
    let models = models();
    FETCHED.get_or_init(|| {
        let stop = AtomicBool::new(false);
        let options = FetchOptions { offline: false, on_event: &|_| {}, stop: &stop };
        let manifest = models.registry().decoder(DEFAULT_DECODER).unwrap();
        fetch(models.home(), manifest, &options).unwrap();
    });
    models
}

/// The default decoder's GGUF file.
pub fn decoder_file() -> PathBuf {
    let models = models_with_decoder();
    let manifest = models.registry().decoder(DEFAULT_DECODER).unwrap();
    models.home().file(manifest, "model.gguf").unwrap()
}

/// A test that needs models: ignored where the network is off.
pub fn needs_models(name: &str, test: fn()) -> Trial {
    trial(name, test).with_ignored_flag(offline())
}

/// A test that needs models and shared data: ignored where either is not to be had.
pub fn needs_models_and_data(name: &str, test: fn()) -> Trial {
    trial(name, test).with_ignored_flag(offline() || shared_data().is_none())
}

fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok::<(), Failed>(())
    })
}

/// Every file under `folder`, in order.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// xorshift64 (Marsaglia 2003): the same numbers for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// SIGKILL, as the system or a power button would; whether there was such a process.
pub fn kill(process: u32) -> bool {
    let killed =
        Command::new("kill").args(["-9", &process.to_string()]).stderr(Stdio::null()).status();
    killed.unwrap().success()
}

/// What a child process says until it ends, which it must within `limit`.
pub fn output_within(mut child: Child, limit: Duration, told: &str) -> Output {
    let process = child.id();
    drop(child.stdin.take());
    let (done, ended) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let late = ended.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        late && kill(process)
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    assert!(!watch.join().unwrap(), "{told}: it hangs");
    output
}

/// Options of a collection whose encoder needs no model.
pub fn words() -> CollectionOptions {
    CollectionOptions::encoder(HashedWords::new("words"))
}

/// Runs the binary in `folder` and returns exit status, standard output and standard error.
pub fn vdb(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    told(command(folder, arguments))
}

/// The same with models and their names in `home`.
pub fn vdb_in(folder: &Path, home: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = command(folder, arguments);
    command.env("VDB_HOME", home);
    told(command)
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vdb"));
    command.args(arguments).current_dir(folder).env_remove("VDB_DB");
    command
}

fn told(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// An encoder by hashed words: texts that share words are near. Real enough for everything but
/// quality, and there without a model.
pub struct HashedWords {
    fingerprint: Fingerprint,
}

impl HashedWords {
    /// Each name is an encoder of its own, with a space of its own.
    pub fn new(name: &str) -> Self {
        Self::sized(name, 64, 64)
    }

    pub fn sized(name: &str, dimensions: usize, window: usize) -> Self {
        let fingerprint = Fingerprint {
            model: name.to_owned(),
            weights: "none".to_owned(),
            tokenizer: "words".to_owned(),
            pooling: "mean".to_owned(),
            query_prefix: String::new(),
            document_prefix: String::new(),
            window,
            precision: "fp32".to_owned(),
            dimensions,
        };
        Self { fingerprint }
    }

    fn add_word(&self, word: &str, vector: &mut [f32]) {
        let first = match self.fingerprint.model.as_str() {
            "words" | "other" => 5381,
            name => name.bytes().fold(7u32, |h, b| h.wrapping_mul(31) ^ u32::from(b)),
        };
        let hash =
            word.bytes().fold(first, |h, b| h.wrapping_mul(33) ^ u32::from(b.to_ascii_lowercase()));
        let place = hash as usize % vector.len();
        vector[place] += if hash & 64 == 0 { 1.0 } else { -1.0 };
    }
}

impl Encoder for HashedWords {
    fn dimensions(&self) -> usize {
        self.fingerprint.dimensions
    }
    fn window(&self) -> usize {
        self.fingerprint.window
    }
    fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
    fn tokens(&self) -> &dyn TokenSpans {
        &Words
    }
    fn overhead(&self) -> usize {
        0
    }
    fn encode(&self, texts: &[&str], _: InputKind) -> vdb::Result<Vec<Embedding>> {
        let embed = |text: &&str| {
            let mut vector = vec![0.01f32; self.dimensions()];
            let spans = Words.token_spans(text)?;
            for Range { start, end } in spans.iter().take(self.window()).cloned() {
                self.add_word(&text[start..end], &mut vector);
            }
            let truncated_tokens = spans.len().saturating_sub(self.window());
            Ok(Embedding { vector, truncated_tokens })
        };
        texts.iter().map(embed).collect()
    }

    /// A word's vector says nothing but which word it is.
    fn encode_tokens(&self, texts: &[(&str, InputKind)]) -> vdb::Result<Vec<TokenEmbedding>> {
        let embed = |(text, kind): &(&str, InputKind)| {
            let embedding = self.encode(&[*text], *kind)?.remove(0);
            let spans: Vec<Range<usize>> =
                Words.token_spans(text)?.into_iter().take(self.window()).collect();
            let mut vectors = vec![0.0; spans.len() * self.dimensions()];
            for (span, row) in spans.iter().zip(vectors.chunks_exact_mut(self.dimensions())) {
                self.add_word(&text[span.clone()], row);
            }
            Ok(TokenEmbedding { embedding, vectors, spans })
        };
        texts.iter().map(embed).collect()
    }
}
