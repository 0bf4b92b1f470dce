// Records what Karmada's scheduling core answers: JSON Lines of cases on standard input, the same
// cases with result, error and estimate on standard output. See README.md beside this file.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	clusterv1alpha1 "github.com/karmada-io/karmada/pkg/apis/cluster/v1alpha1"
	policyv1alpha1 "github.com/karmada-io/karmada/pkg/apis/policy/v1alpha1"
	workv1alpha2 "github.com/karmada-io/karmada/pkg/apis/work/v1alpha2"
	estimator "github.com/karmada-io/karmada/pkg/estimator/client"
	schedulercache "github.com/karmada-io/karmada/pkg/scheduler/cache"
	"github.com/karmada-io/karmada/pkg/scheduler/core"
	"github.com/karmada-io/karmada/pkg/scheduler/framework"
	"github.com/karmada-io/karmada/pkg/scheduler/framework/plugins"
)

type testCase struct {
	Clusters []cluster
	Workload struct {
		APIVersion, Kind, UID string
		Replicas              int32
		Requests              map[string]string
	}
	Placement        policyv1alpha1.Placement
	Previous         []count
	Evicting         []string
	Fresh            bool
	ObservedAffinity string
}

type cluster struct {
	Name, Provider, Region             string
	Zones                              []string
	Labels                             map[string]string
	Taints                             []corev1.Taint
	Apis                               []string
	ApisIncomplete, Deleting           bool
	Allocatable, Allocated, Allocating map[string]string
}

type count struct {
	Cluster  string `json:"cluster"`
	Replicas int32  `json:"replicas"`
}

type lister []*clusterv1alpha1.Cluster

func (l lister) List(labels.Selector) ([]*clusterv1alpha1.Cluster, error) { return l, nil }
func (l lister) Get(name string) (*clusterv1alpha1.Cluster, error) {
	return nil, errors.New("not asked for")
}

func amounts(texts map[string]string) corev1.ResourceList {
	list := corev1.ResourceList{}
	for name, text := range texts {
		list[corev1.ResourceName(name)] = resource.MustParse(text)
	}
	return list
}

func (c cluster) object() *clusterv1alpha1.Cluster {
	o := &clusterv1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: c.Name, Labels: c.Labels}}
	if c.Deleting {
		o.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	}
	o.Spec.Provider, o.Spec.Region, o.Spec.Zones, o.Spec.Taints = c.Provider, c.Region, c.Zones, c.Taints
	served := map[string][]clusterv1alpha1.APIResource{}
	for _, api := range c.Apis {
		at := strings.LastIndex(api, "/")
		served[api[:at]] = append(served[api[:at]], clusterv1alpha1.APIResource{Kind: api[at+1:]})
	}
	for version, resources := range served {
		enabled := clusterv1alpha1.APIEnablement{GroupVersion: version, Resources: resources}
		o.Status.APIEnablements = append(o.Status.APIEnablements, enabled)
	}
	complete := metav1.ConditionTrue
	if c.ApisIncomplete {
		complete = metav1.ConditionFalse
	}
	o.Status.Conditions = []metav1.Condition{
		{Type: clusterv1alpha1.ClusterConditionReady, Status: metav1.ConditionTrue},
		{Type: clusterv1alpha1.ClusterConditionCompleteAPIEnablements, Status: complete},
	}
	if c.Allocatable != nil {
		o.Status.ResourceSummary = &clusterv1alpha1.ResourceSummary{
			Allocatable: amounts(c.Allocatable),
			Allocated:   amounts(c.Allocated),
			Allocating:  amounts(c.Allocating),
		}
	}
	return o
}

func (c testCase) binding() (*workv1alpha2.ResourceBindingSpec, *workv1alpha2.ResourceBindingStatus) {
	w := c.Workload
	spec := &workv1alpha2.ResourceBindingSpec{
		Resource: workv1alpha2.ObjectReference{
			APIVersion: w.APIVersion, Kind: w.Kind, Namespace: "default", Name: "case", UID: types.UID(w.UID),
		},
		Replicas:  w.Replicas,
		Placement: &c.Placement,
	}
	if w.Requests != nil {
		spec.ReplicaRequirements = &workv1alpha2.ReplicaRequirements{ResourceRequest: amounts(w.Requests)}
	}
	for _, held := range c.Previous {
		spec.Clusters = append(spec.Clusters, workv1alpha2.TargetCluster{Name: held.Cluster, Replicas: held.Replicas})
	}
	for _, name := range c.Evicting {
		spec.GracefulEvictionTasks = append(spec.GracefulEvictionTasks, workv1alpha2.GracefulEvictionTask{FromCluster: name})
	}
	last := metav1.NewTime(time.Now().Add(-time.Hour))
	if c.Fresh {
		spec.RescheduleTriggeredAt = &metav1.Time{Time: time.Now()}
	}
	return spec, &workv1alpha2.ResourceBindingStatus{
		SchedulerObservedAffinityName: c.ObservedAffinity,
		LastScheduledTime:             &last,
	}
}

func kindOf(err error) string {
	var fit *framework.FitError
	switch {
	case errors.As(err, &fit):
		return "nofit"
	case strings.HasPrefix(err.Error(), "failed to select"):
		return "spread"
	case strings.HasPrefix(err.Error(), "failed to assign"):
		return "capacity"
	}
	return "other"
}

// record answers one case and gives it back with every field that it came with.
func record(line []byte) (map[string]any, error) {
	var c testCase
	var fields map[string]any
	if err := errors.Join(json.Unmarshal(line, &c), json.Unmarshal(line, &fields)); err != nil {
		return nil, err
	}
	var clusters lister
	for _, known := range c.Clusters {
		clusters = append(clusters, known.object())
	}
	spec, status := c.binding()
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	scheduler, err := core.NewGenericScheduler(schedulercache.NewCache(clusters, indexer, 0), plugins.NewInTreeRegistry())
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	answer, err := scheduler.Schedule(ctx, spec, status, &core.ScheduleAlgorithmOption{})
	result := []count{}
	if err == nil {
		for _, target := range answer.SuggestedClusters {
			result = append(result, count{target.Name, target.Replicas})
		}
		sort.Slice(result, func(a, b int) bool { return result[a].Cluster < result[b].Cluster })
	} else {
		fields["error"], fields["errorKind"] = err.Error(), kindOf(err)
	}
	fields["result"] = result
	free, err := estimator.NewGeneralEstimator().MaxAvailableReplicas(ctx, estimator.ReplicaEstimationRequest{
		Clusters: clusters, ReplicaRequirements: spec.ReplicaRequirements,
	})
	estimate := map[string]int32{}
	for _, target := range free {
		estimate[target.Name] = target.Replicas
	}
	fields["estimate"] = estimate
	return fields, err
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<26)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		fields, err := record(lines.Bytes())
		if err == nil {
			err = out.Encode(fields)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}
