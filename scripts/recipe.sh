# The steps of a recipe. train_tiny.sh and train_small.sh say how much of each, and source this.
# All of them find what is there and do the rest: the same command goes on where it was stopped.
#
# They set GYM, the command; DATA, ENCODER, MODEL_FOLDER and TABLE, the folders; the model's name
# MODEL; and what each job is told beyond that: COLLECT, PRETRAIN, TRAIN, HEADS, GATES, COMPARE.
# STEPS says which are done. If OUT is set, what was learned is copied there after each step.

STEPS=${STEPS:-collect pretrain train heads gates compare}

recipe() {
    local name known=" collect pretrain train heads gates compare "
    for name in $STEPS; do
        case $known in
            *" $name "*) ;;
            *) echo "recipe: no step is called $name; there are:$known" >&2 && exit 2 ;;
        esac
    done
    for name in $STEPS; do
        "step_$name"
        copy_out
    done
    echo "recipe: done; the model is in $MODEL_FOLDER, the table in $TABLE"
}

step_collect() {
    run collect job.root="$DATA" "${COLLECT[@]}"
}

step_pretrain() {
    run pretrain job.data="$DATA" job.folder="$ENCODER" job.model="$MODEL" "${PRETRAIN[@]}"
}

step_train() {
    run train job.data="$DATA" job.encoder="$ENCODER" job.folder="$MODEL_FOLDER" "${TRAIN[@]}"
}

step_heads() {
    run heads job.data="$DATA" job.model="$MODEL_FOLDER" "${HEADS[@]}"
}

step_gates() {
    run gates job.data="$DATA" job.model="$MODEL_FOLDER" "${GATES[@]}"
}

step_compare() {
    run compare world_model.source="$MODEL_FOLDER" job.folder="$TABLE" "${COMPARE[@]}"
}

run() {
    local began=$SECONDS
    printf '\nrecipe: vjepa-gym %s\n' "$*"
    "${GYM[@]}" "$@"
    printf 'recipe: %s took %d s\n' "$1" $((SECONDS - began))
}

# Few files, so that a narrow way back has room for them.
copy_out() {
    [ -n "${OUT:-}" ] || return 0
    mkdir -p "$OUT"
    if [ -d "$MODEL_FOLDER" ]; then
        pack_out model.tar "$MODEL_FOLDER" model.safetensors config.json gates.json
        pack_out heads.tar "$MODEL_FOLDER" 'inverse.*' 'macro.*' 'decoder.*'
        pack_out curves.tar "$MODEL_FOLDER" losses.csv curves.png
    fi
    if [ -d "$TABLE" ]; then tar --create --file "$OUT/table.tar" --directory "$TABLE" .; fi
}

# pack_out <archive> <folder> <file ...>: those of the files that are there.
pack_out() {
    local archive=$OUT/$1 folder=$2 there
    shift 2
    # shellcheck disable=SC2048 # patterns
    there=$(cd "$folder" && for name in $*; do if [ -f "$name" ]; then echo "$name"; fi; done)
    # shellcheck disable=SC2086 # a word each
    if [ -n "$there" ]; then tar --create --file "$archive" --directory "$folder" $there; fi
}
