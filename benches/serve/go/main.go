// Command go is the third server to compare with: the usual way in Go. The webhook is controller-runtime's own server
// with a handler that decodes the Pod into Kubernetes' type, changes it, encodes it, and lets the library make the
// patch; the extender decodes kube-scheduler's own types with encoding/json. Its rule is the toy rule of *plain*.
//
//	go --webhook ADDRESS --extender ADDRESS --tls FOLDER --free FILE --profile KEY --resources NAME,NAME...
//
// FILE says of each node whether it has a VF left, as a JSON object; the names of annotations and resources come from
// the caller, who has them from the program itself.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	extender "k8s.io/kube-scheduler/extender/v1"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const networks = "k8s.v1.cni.cncf.io/networks"

type server struct {
	free      map[string]bool
	profile   string
	resources []corev1.ResourceName
	decoder   admission.Decoder
}

func main() {
	address := flag.String("webhook", "", "where AdmissionReviews are answered, over TLS")
	open := flag.String("extender", "", "where kube-scheduler's requests are answered")
	tls := flag.String("tls", "", "the folder of tls.crt and tls.key")
	table := flag.String("free", "", "the file that says which nodes have a VF left")
	profile := flag.String("profile", "", "the key of the annotation that asks for rails")
	names := flag.String("resources", "", "the resources of the rails")
	flag.Parse()

	ctrllog.SetLogger(logr.Discard())
	scheme := runtime.NewScheme()
	must(corev1.AddToScheme(scheme))
	s := &server{profile: *profile, decoder: admission.NewDecoder(scheme)}
	for _, name := range strings.Split(*names, ",") {
		s.resources = append(s.resources, corev1.ResourceName(name))
	}
	text, err := os.ReadFile(*table)
	must(err)
	must(json.Unmarshal(text, &s.free))

	host, port, err := net.SplitHostPort(*address)
	must(err)
	number, err := strconv.Atoi(port)
	must(err)
	secured := webhook.NewServer(webhook.Options{Host: host, Port: number, CertDir: *tls})
	secured.Register("/mutate", &webhook.Admission{Handler: admission.HandlerFunc(s.mutate)})
	go func() { must(secured.Start(context.Background())) }()

	routes := http.NewServeMux()
	routes.HandleFunc("/filter", s.filter)
	routes.HandleFunc("/prioritize", s.prioritize)
	socket, err := net.Listen("tcp", *open)
	must(err)
	go func() { must(http.Serve(socket, routes)) }()

	// The library tells by a handshake with itself whether it serves.
	for secured.StartedChecker()(nil) != nil {
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Println("ready")
	select {}
}

func (s *server) mutate(_ context.Context, request admission.Request) admission.Response {
	pod := &corev1.Pod{}
	if err := s.decoder.Decode(request, pod); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if _, wanted := pod.Annotations[s.profile]; wanted && len(pod.Spec.Containers) > 0 {
		rails := make([]string, len(s.resources))
		container := &pod.Spec.Containers[0]
		if container.Resources.Requests == nil {
			container.Resources.Requests = corev1.ResourceList{}
		}
		if container.Resources.Limits == nil {
			container.Resources.Limits = corev1.ResourceList{}
		}
		for rail, name := range s.resources {
			rails[rail] = fmt.Sprintf("rdma/rail%d", rail)
			for _, list := range []corev1.ResourceList{container.Resources.Requests, container.Resources.Limits} {
				if _, present := list[name]; !present {
					list[name] = resource.MustParse("1")
				}
			}
		}
		pod.Annotations[networks] = strings.Join(rails, ",")
	}
	changed, err := json.Marshal(pod)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(request.Object.Raw, changed)
}

func (s *server) needsVFs(pod *corev1.Pod) bool {
	for i := range pod.Spec.Containers {
		if _, asked := pod.Spec.Containers[i].Resources.Requests[s.resources[0]]; asked {
			return true
		}
	}
	return false
}

func (s *server) filter(w http.ResponseWriter, r *http.Request) {
	var asked extender.ExtenderArgs
	if !read(w, r, &asked) {
		return
	}
	needs := s.needsVFs(asked.Pod)
	fit := make([]string, 0, len(*asked.NodeNames))
	failed := extender.FailedNodesMap{}
	for _, name := range *asked.NodeNames {
		if !needs || s.free[name] {
			fit = append(fit, name)
		} else {
			failed[name] = "no free VF"
		}
	}
	answer(w, extender.ExtenderFilterResult{NodeNames: &fit, FailedAndUnresolvableNodes: failed})
}

func (s *server) prioritize(w http.ResponseWriter, r *http.Request) {
	var asked extender.ExtenderArgs
	if !read(w, r, &asked) {
		return
	}
	needs := s.needsVFs(asked.Pod)
	scores := make(extender.HostPriorityList, 0, len(*asked.NodeNames))
	for _, name := range *asked.NodeNames {
		var score int64
		if !needs || s.free[name] {
			score = 5
		}
		scores = append(scores, extender.HostPriority{Host: name, Score: score})
	}
	answer(w, scores)
}

func read(w http.ResponseWriter, r *http.Request, asked *extender.ExtenderArgs) bool {
	if err := json.NewDecoder(r.Body).Decode(asked); err != nil || asked.Pod == nil || asked.NodeNames == nil {
		http.Error(w, "not a request with names of nodes", http.StatusBadRequest)
		return false
	}
	return true
}

// With its length: kube-scheduler opens a connection for every answer that is sent in chunks.
func answer(w http.ResponseWriter, value any) {
	body, err := json.Marshal(value)
	must(err)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
