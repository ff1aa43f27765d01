//! The one place that names ort: the ONNX Runtime library, and sessions on it.

mod decoder;

pub(crate) use decoder::{Brake, Cache, DecoderSession, RunError};

use super::device::Device;
use crate::error::{Error, Result};
use ort::session::Session as OrtSession;
use ort::session::SessionInputValue;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::Tensor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The command that brings the library.
const SET_UP: &str = "vdb setup";

/// A process can load one ONNX Runtime, once.
static LOADED: OnceLock<Runtime> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

/// The ONNX Runtime library of this process.
#[derive(Clone)]
pub struct Runtime {
    library: PathBuf,
    version: String,
    environment: ort::environment::Environment,
}

impl Runtime {
    /// Loads the library at `library`. A process loads one; asking again for the same one gives it
    /// back.
    ///
    /// The library would report what it does to its makers. So that it does not, `ORT_DISABLE_TELEMETRY`
    /// is set to 1 in the environment where it is not set: a program in which other threads call C code
    /// that reads the environment at this moment should set it itself, before it starts them.
    ///
    /// # Errors
    /// [`Error::NotSetUp`] where the file is not there; [`Error::Model`] where it cannot be loaded,
    /// is too old, or another library is loaded already.
    pub fn load(library: &Path) -> Result<Self> {
        let _loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = LOADED.get() {
            if loaded.library == library {
                return Ok(loaded.clone());
            }
            return Err(failed(format!(
                "{} is loaded in this process already, so {} cannot be",
                loaded.library.display(),
                library.display()
            )));
        }
        if !library.is_file() {
            return Err(Error::NotSetUp {
                what: format!("the ONNX Runtime library ({})", library.display()),
                fix: SET_UP.to_owned(),
            });
        }
        preload(library);
        no_telemetry();
        let environment = guarded(|| {
            ort::init_from(library)
                .map_err(|e| e.to_string())?
                .with_name("vdb")
                .with_telemetry(false)
                .build()
                .map_err(|e| e.to_string())
        })
        .map_err(|reason| {
            failed(format!(
                "{} cannot be loaded: {reason}; `{SET_UP}` fetches one that works",
                library.display()
            ))
        })?;
        environment.set_log_level(ort::logging::LogLevel::Error);
        let version = version_of(library);
        let runtime = Self { library: library.to_path_buf(), version, environment };
        Ok(LOADED.get_or_init(|| runtime).clone())
    }

    /// The file that is loaded.
    #[must_use]
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The library's version, as its file name says.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A session for the model at `path`.
    pub(crate) fn session(&self, path: &Path, options: &SessionOptions) -> Result<Session> {
        let (session, provider) = self.open(path, options)?;
        let names =
            |outlets: &[ort::value::Outlet]| outlets.iter().map(|o| o.name().to_owned()).collect();
        Ok(Session {
            inputs: names(session.inputs()),
            outputs: names(session.outputs()),
            provider,
            session,
        })
    }

    /// A session, and the execution provider that is really in use.
    fn open(&self, path: &Path, options: &SessionOptions) -> Result<(OrtSession, &'static str)> {
        let built = guarded(|| self.build(path, options));
        Ok(match (built, options.device) {
            (Ok(session), Device::Cpu) => (session, CPU),
            (Ok(session), Device::Cuda | Device::Auto) => (session, CUDA),
            (Err(_), Device::Auto) => {
                let options = SessionOptions { device: Device::Cpu, ..*options };
                let session = guarded(|| self.build(path, &options))
                    .map_err(|reason| refused(path, &reason))?;
                (session, CPU)
            }
            (Err(reason), Device::Cuda) => {
                return Err(Error::Device {
                    device: "cuda".to_owned(),
                    reason: format!(
                        "{}; `vdb setup --device cuda` fetches the library for NVIDIA cards, and \
                         `vdb doctor --device cuda` says what is missing",
                        first_line(&reason)
                    ),
                });
            }
            (Err(reason), Device::Cpu) => return Err(refused(path, &reason)),
        })
    }

    fn build(&self, path: &Path, options: &SessionOptions) -> Result<OrtSession, String> {
        let mut builder = OrtSession::builder(&self.environment).map_err(|e| e.to_string())?;
        builder = configured(builder, options)?;
        builder.commit_from_file(path).map_err(|e| e.to_string())
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("library", &self.library).finish_non_exhaustive()
    }
}

const CPU: &str = "CPUExecutionProvider";
const CUDA: &str = "CUDAExecutionProvider";

/// How long a thread waits awake for the next operator, where it does: long enough for those between
/// two products, too short to keep others from a processor.
const SPIN_MICROSECONDS: &str = "100";

/// How a session runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionOptions {
    pub(crate) device: Device,
    pub(crate) threads: usize,
    /// Whether threads wait for the next operator awake while the session runs: a call of many short
    /// operators gains a fifth by it.
    pub(crate) spinning: bool,
    /// Whether the runtime looks for what it can fuse. Graphs that are written fused load faster
    /// without.
    pub(crate) optimise: bool,
}

fn configured(builder: SessionBuilder, options: &SessionOptions) -> Result<SessionBuilder, String> {
    // Threads that spin between runs would take a processor from the program we live in, and
    // measured slower as soon as anything else ran. SkipLayerNormalization measured slower than
    // the two operators that it fuses.
    let level = if options.optimise {
        GraphOptimizationLevel::All
    } else {
        GraphOptimizationLevel::Disable
    };
    let mut builder = builder
        .with_optimization_level(level)
        .and_then(|b| b.with_intra_threads(options.threads.max(1)))
        .and_then(|b| b.with_intra_op_spinning(options.spinning))
        .and_then(|b| b.with_config_entry("session.force_spinning_stop", "1"))
        // Packing the weights is most of loading; otherwise one thread does it.
        .and_then(|b| b.with_config_entry("session.prepack.enable_parallel", "1"))
        .and_then(|b| b.with_config_entry("session.intra_op.spin_duration_us", SPIN_MICROSECONDS))
        .and_then(|b| b.with_disabled_optimizers("SkipLayerNormFusion"))
        .map_err(|e| e.to_string())?;
    if options.device != Device::Cpu {
        let cuda = ort::ep::CUDA::default().build().error_on_failure();
        builder = builder.with_execution_providers([cuda]).map_err(|e| e.to_string())?;
    }
    Ok(builder)
}

/// A model ready to run; one run at a time.
pub(crate) struct Session {
    session: OrtSession,
    inputs: Vec<String>,
    outputs: Vec<String>,
    provider: &'static str,
}

impl Session {
    /// Names of the inputs that the model declares.
    pub(crate) fn inputs(&self) -> &[String] {
        &self.inputs
    }

    /// Names of the outputs that the model declares.
    pub(crate) fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// The execution provider that is really in use.
    pub(crate) fn provider(&self) -> &'static str {
        self.provider
    }

    /// Runs the model on int64 tensors of the shape [`rows`, `columns`], and hands the f32 output
    /// `output`, with its shape, to `read`.
    pub(crate) fn run<T>(
        &mut self,
        inputs: Vec<(&str, Vec<i64>)>,
        rows: usize,
        columns: usize,
        output: &str,
        read: impl FnOnce(&[usize], &[f32]) -> T,
    ) -> Result<T, String> {
        let mut values: Vec<(String, SessionInputValue<'_>)> = Vec::with_capacity(inputs.len());
        for (name, data) in inputs {
            let tensor = Tensor::from_array(([rows, columns], data)).map_err(|e| e.to_string())?;
            values.push((name.to_owned(), tensor.into()));
        }
        let outputs = self.session.run(values).map_err(|e| e.to_string())?;
        let value = outputs.get(output).ok_or_else(|| format!("it gave no output {output:?}"))?;
        let (shape, data) = value.try_extract_tensor::<f32>().map_err(|e| e.to_string())?;
        Ok(read(&dims(shape), data))
    }

    /// Runs the model on one text and hands each of the f32 `outputs`, by its place among them and
    /// with its shape, to `read`.
    pub(crate) fn run_watched(
        &mut self,
        inputs: Vec<(&str, Vec<i64>)>,
        columns: usize,
        names: &[String],
        mut read: impl FnMut(usize, &[usize], &[f32]),
    ) -> Result<(), String> {
        let mut values: Vec<(String, SessionInputValue<'_>)> = Vec::with_capacity(inputs.len());
        for (name, data) in inputs {
            let tensor = Tensor::from_array(([1, columns], data)).map_err(|e| e.to_string())?;
            values.push((name.to_owned(), tensor.into()));
        }
        let outputs = self.session.run(values).map_err(|e| e.to_string())?;
        for (i, name) in names.iter().enumerate() {
            let value = outputs.get(name).ok_or_else(|| format!("it gave no output {name:?}"))?;
            let (shape, data) = value.try_extract_tensor::<f32>().map_err(|e| e.to_string())?;
            read(i, &dims(shape), data);
        }
        Ok(())
    }
}

/// From 1.32 on, the library keeps a database of what it wants to report as soon as it is started, and
/// sends it; only this variable stops it before it begins, the setting that `with_telemetry` turns off
/// comes too late.
fn no_telemetry() {
    const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    #[expect(unsafe_code, reason = "there is no safe form")]
    // SAFETY: Rust's own readers of the environment wait meanwhile. One of C on another thread must not
    // read it at this moment, once in a process: `Runtime::load` says so.
    unsafe {
        std::env::set_var(VARIABLE, "1");
    }
}

/// The CUDA build finds NVIDIA's libraries by name alone, wherever they are loaded from: those that
/// lie beside it are loaded first. Each may need another, so rounds are made until none is left or
/// none loads any more; what is then missing, the provider will name.
fn preload(library: &Path) {
    let Some(folder) = library.parent() else { return };
    if !folder.join("libonnxruntime_providers_cuda.so").exists() {
        return;
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut waiting: Vec<PathBuf> = entries
        .map(|e| e.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.contains(".so") && !name.starts_with("libonnxruntime")
        })
        .collect();
    loop {
        let before = waiting.len();
        waiting.retain(|path| ort::util::preload_dylib(path).is_err());
        if waiting.is_empty() || waiting.len() == before {
            return;
        }
    }
}

fn dims(shape: &[i64]) -> Vec<usize> {
    shape.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect()
}

/// ort panics where a library misbehaves at start; nothing of it may leave this module.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(text.unwrap_or("the library failed while it was set up").to_owned())
    })
}

fn failed(reason: String) -> Error {
    Error::Model { name: "ONNX Runtime".to_owned(), reason }
}

fn refused(path: &Path, reason: &str) -> Error {
    Error::Model {
        name: path.display().to_string(),
        reason: format!("the runtime refuses it: {}", first_line(reason)),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// `libonnxruntime.so.1.32.0` says 1.32.0.
fn version_of(library: &Path) -> String {
    let name = library.file_name().unwrap_or_default().to_string_lossy();
    let digits = name.find(|c: char| c.is_ascii_digit()).map(|at| &name[at..]);
    let version = digits.unwrap_or_default().trim_end_matches(|c: char| !c.is_ascii_digit());
    if version.is_empty() { "unknown".to_owned() } else { version.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_file_names() {
        assert_eq!(version_of(Path::new("/x/libonnxruntime.so.1.32.0")), "1.32.0");
        assert_eq!(version_of(Path::new("libonnxruntime.1.31.1.dylib")), "1.31.1");
        assert_eq!(version_of(Path::new("onnxruntime.dll")), "unknown");
    }

    #[test]
    fn a_library_that_is_not_there_or_is_none_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libonnxruntime.so");
        assert!(matches!(Runtime::load(&path), Err(Error::NotSetUp { .. })));
        std::fs::write(&path, b"\x7fELF and then nothing").unwrap();
        let message = Runtime::load(&path).unwrap_err().to_string();
        assert!(message.contains("vdb setup"), "{message}");
    }
}
