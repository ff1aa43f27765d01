//! `vdb doctor`

use super::Status;
use super::models::state;
use super::options::Global;
use super::output::Out;
use crate::encode::InputKind;
use crate::error::{Error, Result};
use crate::model::{DEFAULT_ENCODER, Models};
use crate::threads;
use crate::vector::kernels;
use serde_json::json;

/// One finding: what was looked at, whether it is well, and what there is to say.
struct Finding {
    what: &'static str,
    well: bool,
    says: String,
}

pub(super) fn run(global: &Global, out: &Out) -> Result<Status> {
    let models = global.models()?;
    let mut findings = vec![
        Finding { what: "version", well: true, says: format!("vdb {}", env!("CARGO_PKG_VERSION")) },
        Finding { what: "processor", well: true, says: processor() },
        home(&models),
    ];
    findings.extend(files(&models));
    findings.push(runtime(&models));
    findings.push(encoder(&models));
    findings.push(database(global));
    for finding in &findings {
        if out.json {
            out.json_line(&json!({
                "what": finding.what, "well": finding.well, "says": finding.says,
            }))?;
        } else {
            let mark = if finding.well { "ok  " } else { "FAIL" };
            out.line(&format!("{mark}  {:<10}  {}", finding.what, finding.says))?;
        }
    }
    if findings.iter().all(|f| f.well) {
        return Ok(Status::Done);
    }
    Ok(Status::Partly)
}

fn processor() -> String {
    let threads = threads::all();
    let kernels = kernels();
    let kernels = if kernels.is_empty() { "portable".to_owned() } else { kernels.join(", ") };
    format!("{threads} threads; vector kernels: {kernels}")
}

fn home(models: &Models) -> Finding {
    let folder = models.home().folder();
    let writable = std::fs::create_dir_all(folder)
        .and_then(|()| tempfile::NamedTempFile::new_in(folder).map(drop));
    let says = match &writable {
        Ok(()) => folder.display().to_string(),
        Err(e) => {
            format!("{} cannot be written: {e}; set VDB_HOME to another folder", folder.display())
        }
    };
    Finding { what: "VDB_HOME", well: writable.is_ok(), says }
}

/// The files of the default set-up, each read back against its checksum.
fn files(models: &Models) -> Vec<Finding> {
    let Ok(manifests) = models.defaults() else { return Vec::new() };
    let check = |manifest: &&crate::model::Manifest| {
        let (well, says) = match (state(models, manifest), models.home().check(manifest)) {
            ("ready", Ok(wrong)) if wrong.is_empty() => {
                (true, format!("{}: all files are whole", manifest.name))
            }
            ("ready", Ok(wrong)) => (
                false,
                format!(
                    "{}; delete {} and run `vdb setup`",
                    wrong.join("; "),
                    models.home().place(manifest).display()
                ),
            ),
            (state, Ok(_)) => (false, format!("{}: {state}; run `vdb setup`", manifest.name)),
            (_, Err(error)) => (false, error.to_string()),
        };
        Finding { what: "files", well, says }
    };
    manifests.iter().map(check).collect()
}

fn runtime(models: &Models) -> Finding {
    let loaded = models.runtime();
    let says = match &loaded {
        Ok(runtime) => {
            format!(
                "ONNX Runtime {}, loaded from {}",
                runtime.version(),
                runtime.library().display()
            )
        }
        Err(error) => error.to_string(),
    };
    Finding { what: "runtime", well: loaded.is_ok(), says }
}

/// A text is really embedded, and the provider asked.
fn encoder(models: &Models) -> Finding {
    let embedded = models.encoder(DEFAULT_ENCODER).and_then(|handle| {
        let encoder = handle.get()?;
        let vectors = encoder.encode(&["a short text"], InputKind::Query)?;
        let length = vectors.first().map_or(0, |v| v.vector.len());
        Ok((handle.fingerprint().to_string(), length, encoder.provider()?))
    });
    let (well, says) = match embedded {
        Ok((name, length, provider)) => {
            (true, format!("{name} gives {length} dimensions on {provider}"))
        }
        Err(error) => (false, error.to_string()),
    };
    Finding { what: "encoder", well, says }
}

fn database(global: &Global) -> Finding {
    match global.database_to_look() {
        Ok(database) => Finding {
            what: "database",
            well: true,
            says: format!("{}: generation {}", global.db.display(), database.generation()),
        },
        Err(Error::NotFound { .. }) => Finding {
            what: "database",
            well: true,
            says: format!("none in {} yet; `vdb ingest PATH` makes it", global.db.display()),
        },
        Err(error) => Finding { what: "database", well: false, says: error.to_string() },
    }
}
