// Reads a Mesos master or agent as Telegraf does and prints what it would send on, as JSON.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/inputs/mesos"
)

// Points is a telegraf.Accumulator that keeps everything.
type Points struct {
	telegraf.Accumulator
	mutex  sync.Mutex
	Points []Point
	Errors []string
}

// Point is one measurement.
type Point struct {
	Measurement string
	Fields      map[string]interface{}
	Tags        map[string]string
}

// AddFields keeps a measurement.
func (p *Points) AddFields(name string, fields map[string]interface{}, tags map[string]string, _ ...time.Time) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.Points = append(p.Points, Point{name, fields, tags})
}

// AddError keeps an error.
func (p *Points) AddError(err error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if err != nil {
		p.Errors = append(p.Errors, err.Error())
	}
}

func main() {
	plugin := &mesos.Mesos{Timeout: 2000, Masters: os.Args[1:2], Slaves: os.Args[2:], Log: quiet{}}
	points := &Points{}
	if err := plugin.Gather(points); err != nil {
		points.AddError(err)
	}
	text, err := json.Marshal(map[string]interface{}{"points": points.Points, "errors": points.Errors})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

type quiet struct{ telegraf.Logger }

func (quiet) Info(...interface{})           {}
func (quiet) Infof(string, ...interface{})  {}
func (quiet) Warnf(string, ...interface{})  {}
func (quiet) Errorf(string, ...interface{}) {}
