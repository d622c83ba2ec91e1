// Checkpoint: a stretch of the forward pass whose nodes save nothing and that is run again when they are needed.
#pragma once
#include <functional>

#include "tape/extras.h"

namespace tg {

class Checkpoint final : public NodeWatch, public Recomputation, public std::enable_shared_from_this<Checkpoint> {
 public:
  explicit Checkpoint(std::function<void()> run_again) : run_again_(std::move(run_again)) {}
  bool saves(Node& node) override;
  void restore() override;
  void forget(Node& node) override;

 private:
  std::function<void()> run_again_;
  std::vector<Node*> nodes_;           // null: gone
  std::vector<Ref<GraphNode>> again_;  // of the second run, in the same order
  bool restoring_ = false;
};

class NodeWatchScope {
 public:
  explicit NodeWatchScope(NodeWatch* watch) : before_(std::exchange(node_watch, watch)) {}
  ~NodeWatchScope() { node_watch = before_; }
  NodeWatchScope(const NodeWatchScope&) = delete;

 private:
  NodeWatch* before_;
};

}  // namespace tg
