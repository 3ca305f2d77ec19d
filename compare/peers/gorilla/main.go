// gorilla/websocket used as its documentation advises: pooled write buffers, and messages that are prepared once for
// all who hear them. /echo sends back, /topics/… publishes to all who are there.
//
//	gorilla PORT
package main

import (
	"log"
	"net/http"
	"os"
	"sync"

	"github.com/gorilla/websocket"
)

// Messages that may wait for a subscriber before it is let go.
const waitingMax = 256

var upgrader = websocket.Upgrader{
	ReadBufferSize:  4096,
	WriteBufferSize: 4096,
	WriteBufferPool: &sync.Pool{},
}

var (
	lock        sync.RWMutex
	subscribers = map[chan *websocket.PreparedMessage]struct{}{}
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("Give a port to listen on.")
	}
	http.HandleFunc("/echo", echo)
	http.HandleFunc("/topics/", publish)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}

func echo(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if conn.WriteMessage(kind, message) != nil {
			return
		}
	}
}

func publish(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	waiting := make(chan *websocket.PreparedMessage, waitingMax)
	lock.Lock()
	subscribers[waiting] = struct{}{}
	lock.Unlock()
	defer leave(waiting)
	go func() {
		defer conn.Close()
		for message := range waiting {
			if conn.WritePreparedMessage(message) != nil {
				return
			}
		}
	}()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		prepared, err := websocket.NewPreparedMessage(kind, message)
		if err != nil {
			return
		}
		publishToAll(prepared)
	}
}

func publishToAll(message *websocket.PreparedMessage) {
	var slow []chan *websocket.PreparedMessage
	lock.RLock()
	for waiting := range subscribers {
		select {
		case waiting <- message:
		default:
			slow = append(slow, waiting)
		}
	}
	lock.RUnlock()
	for _, waiting := range slow {
		leave(waiting)
	}
}

// A subscriber that has left is sent nothing more.
func leave(waiting chan *websocket.PreparedMessage) {
	lock.Lock()
	defer lock.Unlock()
	if _, there := subscribers[waiting]; there {
		delete(subscribers, waiting)
		close(waiting)
	}
}
