//! The Prometheus page. Every figure is read from its owner when the page is asked for; nothing is counted here.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use ringside_worker::accounting;

use crate::control::Status;
use crate::recorder::RecorderCounters;

/// The page.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Default for Metrics {
    fn default() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        Metrics { recorder, handle }
    }
}

impl Metrics {
    /// The page's text, with these figures; `counted` are counters by name.
    pub fn render(
        &self,
        status: &Status,
        games: usize,
        recorder: &RecorderCounters,
        counted: &[(&'static str, u64)],
    ) -> String {
        metrics::with_local_recorder(&self.recorder, || {
            for (name, count) in counted {
                match name.ends_with("_total") {
                    true => metrics::counter!(*name).absolute(*count),
                    false => metrics::gauge!(*name).set(*count as f64),
                }
            }
            metrics::gauge!("ringside_sessions").set(status.sessions as f64);
            metrics::counter!("ringside_signals_dropped_total").absolute(status.signals_dropped);
            metrics::gauge!("ringside_sessions_followed").set(status.followed as f64);
            metrics::counter!("ringside_evictions_total").absolute(status.evictions);
            metrics::counter!("ringside_activations_total").absolute(status.activations);
            metrics::gauge!("ringside_games").set(games as f64);
            metrics::gauge!("ringside_recorder_queued_bytes").set(recorder.queued_bytes as f64);
            metrics::counter!("ringside_recorder_bytes_total").absolute(recorder.taken_bytes);
            metrics::counter!("ringside_recorder_segments_total").absolute(recorder.segments);
            metrics::counter!("ringside_recorder_gaps_total").absolute(recorder.gaps);
            for worker in &status.workers {
                let label = worker.worker.to_string();
                metrics::gauge!("ringside_worker_busy_ratio", "worker" => label.clone())
                    .set(worker.busy_permille as f64 / 1000.0);
                metrics::gauge!("ringside_worker_sessions", "worker" => label.clone(), "pace" => "ticking")
                    .set(worker.ticking as f64);
                metrics::gauge!("ringside_worker_sessions", "worker" => label.clone(), "pace" => "prompt")
                    .set(worker.prompt as f64);
                for (name, count) in &worker.counters {
                    // What is at present goes down as well. Sessions are above, by their pace.
                    if name == "sessions" {
                        continue;
                    }
                    if accounting::is_gauge(name) {
                        metrics::gauge!(format!("ringside_worker_{name}"), "worker" => label.clone())
                            .set(*count as f64);
                        continue;
                    }
                    metrics::counter!(format!("ringside_worker_{name}_total"), "worker" => label.clone())
                        .absolute(*count);
                }
            }
        });
        self.handle.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::WorkerInfo;

    #[test]
    fn the_page_shows_what_it_was_given() {
        let worker = WorkerInfo {
            worker: 3,
            address: "127.0.0.1:1".parse().unwrap(),
            penalty: false,
            ticking: 7,
            prompt: 0,
            busy_permille: 250,
            counters: [("received".to_owned(), 42)].into(),
        };
        let status = Status {
            sessions: 7,
            draining: false,
            settled: true,
            signals_dropped: 3,
            followed: 0,
            arriving: 0,
            spare: 0,
            evictions: 0,
            activations: 0,
            workers: vec![worker],
        };
        let metrics = Metrics::default();
        let recorder = RecorderCounters { gaps: 1, ..RecorderCounters::default() };
        let counted = [("ringside_gossip_refused_total", 5)];
        metrics.render(&status, 2, &recorder, &counted);
        let page = metrics.render(&status, 2, &recorder, &counted);
        for line in [
            "ringside_sessions 7",
            "ringside_games 2",
            "ringside_gossip_refused_total 5",
            "ringside_signals_dropped_total 3",
            "ringside_recorder_gaps_total 1",
            "ringside_worker_busy_ratio{worker=\"3\"} 0.25",
            "ringside_worker_received_total{worker=\"3\"} 42",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }
}
