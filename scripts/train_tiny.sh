#!/usr/bin/env bash
# Train `tiny` on two cores, from nothing to its table: scripts/train_tiny.sh, or make train-tiny.
# The same command goes on where it was stopped. Each number below may be set: EPISODES=500 ...
set -euo pipefail
cd "$(dirname "$0")/.."

MODEL=${MODEL:-tiny}
EPISODES=${EPISODES:-2000}             # collect: ...
HELD_OUT=${HELD_OUT:-100}              # of them, for gates and heads
VARIATION=${VARIATION:-wide}
PRETRAINING=${PRETRAINING:-tiny}       # pretrain: ...
PRETRAIN_STEPS=${PRETRAIN_STEPS:-3000}
POST_TRAINING=${POST_TRAINING:-tiny}   # train: ...
TRAIN_STEPS=${TRAIN_STEPS:-9000}
HEAD_STEPS=${HEAD_STEPS:-null}         # heads: ...; null is each head's own number
TABLE_EPISODES=${TABLE_EPISODES:-100}  # compare, of each agent in each cell: ...
TABLE_AGENTS=${TABLE_AGENTS:-[planning,no_proposals,inverse,hold_still,random,expert]}
TABLE_TASKS=${TABLE_TASKS:-[reach,grasp_cup,grasp_box,reach_with_cup,reach_with_box,\
pick_place_cup,pick_place_box]}

DATA=data/$MODEL ENCODER=runs/$MODEL/encoder MODEL_FOLDER=runs/$MODEL/model TABLE=runs/$MODEL/table
COLLECT=(job.episodes="$EPISODES" job.variation="$VARIATION")
PRETRAIN=(job.held_out="$HELD_OUT" job.training="$PRETRAINING"
    job.training.steps="$PRETRAIN_STEPS")
TRAIN=(job.held_out="$HELD_OUT" job.training="$POST_TRAINING" job.training.steps="$TRAIN_STEPS"
    job.half=true)
HEADS=(job.held_out="$HELD_OUT" job.steps="$HEAD_STEPS" job.half=true)
GATES=(job.held_out="$HELD_OUT")
COMPARE=(job.episodes="$TABLE_EPISODES" job.tasks="$TABLE_TASKS" job.agents="$TABLE_AGENTS"
    job.variation="$VARIATION")
read -r -a GYM <<<"${VJEPA_GYM:-.venv/bin/vjepa-gym}"

. scripts/recipe.sh
recipe
