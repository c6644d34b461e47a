//! A scheduler that shows a sample of 400 nodes is found out by its requests.

use std::time::Duration;

use super::calls::Rig;

#[tokio::test]
async fn a_sample_is_told_from_the_requests_until_one_shows_all_nodes() {
    let names: Vec<String> = (0..400).map(|number| format!("n{number:03}")).collect();
    let mut rig = Rig::new(8, 100).counting_every(Duration::ZERO);
    for name in &names {
        rig = rig.node(name);
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    // kube-scheduler's own choice for 400 nodes is 47 %; each sample begins where the last ended.
    let mut rotation = all.iter().copied().cycle();
    for (pod, told) in [("a", false), ("b", false), ("c", true), ("d", true)] {
        let sample: Vec<&str> = rotation.by_ref().take(188).collect();
        let answer = rig.filter(&Rig::pod(pod), &sample).await;
        assert_eq!(answer["NodeNames"].as_array().map(Vec::len), Some(188), "{pod}");
        assert_eq!(rig.sampling(), told, "{pod}");
    }
    rig.filter(&Rig::pod("e"), &all).await;
    assert!(!rig.sampling(), "all nodes were shown");
}
