/*
 * Leases and fencing: one checkpoint, its dump job and its drill job, agents that crash, a network that loses, doubles and
 * delays, a coordinator that is restarted. README.md says what in the code each part stands for.
 *
 * ATTEMPTS        attempts of the dump (dispatch.max_attempts); DRILL_ATTEMPTS: of the drill, besides those that a dump that
 *                 was tried again costs it
 * FAULTS          how many there may be: an agent crashes, the coordinator is restarted, the answer to a poll is lost
 * CANCEL, NOBODY  with a cancel by the requester; with jobs that are given up because nobody takes them
 * RIVALS, LONE    with a second drill agent; with one dump agent, not two
 * SOUND           nothing is ever damaged
 * LIVE            for the property `ends` alone, under fairness: no doubled messages
 *
 * The environment's MUTANT weakens one rule: the check has to fail then. 0: the protocol as it is.
 */
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#ifndef DRILL_ATTEMPTS
#define DRILL_ATTEMPTS 1
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
#ifdef RIVALS
#define AGENTS 4
#else
#define AGENTS 3
#endif
#define LEASES (ATTEMPTS * 4) /* of both jobs together: asserted to be enough */

#define DUMP 0
#define DRILL 1
/* agents 1 and 2 dump, 3 (and 4) drill */

/* checkpoint: coordinator/state/checkpoint_state.c */
#define REQUESTED 0
#define DUMPING 1
#define STORED 2
#define DRILLING 3
#define SEALED 4
#define FAILED 5
#define ERRORED 6
#define CANCELED 7
#define FINAL(state) (state >= SEALED)

/* job: leased and running are one here */
#define J_QUEUED 0
#define J_HELD 1
#define J_DONE 2
#define J_FAILED 3
#define J_ERRORED 4
#define J_CANCELED 5
#define OVER(j) (job[j].state >= J_DONE)
#define HELD(j) (job[j].state == J_HELD)

/* what became of a lease, at the agent that it was given to */
#define SENT 1     /* the answer is under way */
#define RUNNING 2
#define RESULT 3   /* spooled: sent again until it is answered; outlives a crash */
#define ANSWERED 4 /* but a copy of it may still be under way */
#define GONE 5     /* never heard of again */

/* results */
#define R_DONE 1
#define R_FAILED 2
#define R_ERRORED 3
#define R_CANCELED 4

/* mutants */
#define FENCING_UNCHECKED 1
#define FENCING_NOT_RAISED 2
#define FENCING_FORGOTTEN 3
#define TOLD_BEFORE_DURABLE 4
#define MANIFEST_UNCOMPARED 5
#define SEALED_BEFORE_STORED 6
#define OLD_DAMAGE_COUNTS 7
#define DAMAGE_COUNTS_WHILE_QUEUED 8
#define DRILL_KEEPS_ITS_KEY 9
#define LEASES_LAST 10

typedef Job { byte state = J_QUEUED; byte fencing; byte attempt = 1; byte agent; bit cancel };
typedef Lease {
  byte job; byte agent; byte fencing;
  byte attempt;  /* dump: that it makes; drill: of the dump, that it reads */
  byte key;      /* drill: whose manifests it was told to believe */
  byte status;
  byte outcome;
  byte manifest; /* of the result: the dump's attempt that it is about; 0: none */
  bit lost;      /* only looked at by what is asserted: the coordinator has given it up */
  bit counted    /* the same: its result changed something */
};

byte mutant = 0;

/* the ledger: outlives restarts */
Job job[2];
byte checkpoint = REQUESTED;
byte manifest = 0;     /* recorded from the dump: which attempt's */
byte dump_agent = 0;   /* recorded with the lease: the key that manifests verify against */
byte dump_attempt = 1; /* whose prefix counts */
byte fencing = 0;      /* the last number given */

/* agents, and the messages between */
Lease lease[LEASES];
byte leases = 0;
bit busy[AGENTS + 1]; /* its slot */
byte current[2]; /* asserted only: the lease that a job is held under, from 1; 0: none */
byte ended[2];   /* asserted only: how many results ended the job */

/* the repository, by the dump's attempt: who stored a manifest there, whether the objects are damaged, which attempt
 * was proven by a drill that read it back */
byte stored_by[ATTEMPTS + 1];
bit begun[ATTEMPTS + 1], damaged[ATTEMPTS + 1], proof[ATTEMPTS + 1];

byte faults = FAULTS;

/* ---- how jobs and the checkpoint go on: dispatch/outcome.c ---- */

inline raise(j) {
  if
  :: mutant != FENCING_NOT_RAISED -> fencing++; job[j].fencing = fencing
  :: else
  fi
}

inline outdate(j, is_lost) {
  if
  :: is_lost -> raise(j)
  :: else
  fi
}

inline requeue(j, is_lost) {
  assert(HELD(j));
  job[j].state = J_QUEUED;
  outdate(j, is_lost);
  job[j].attempt++;
  current[j] = 0;
  if
  :: j == DUMP && !FINAL(checkpoint) -> assert(checkpoint == DUMPING); checkpoint = REQUESTED; dump_attempt = job[DUMP].attempt
  :: j == DRILL && checkpoint == DRILLING -> checkpoint = STORED
  :: else
  fi
}

inline finish(j, how) {
  job[j].state = how;
  current[j] = 0
}

inline cancel_job(j) {
  if
  :: OVER(j)
  :: job[j].state == J_QUEUED -> job[j].cancel = 1; finish(j, J_CANCELED)
  :: HELD(j) -> job[j].cancel = 1
  fi
}

inline dump_errored() {
  finish(DUMP, J_ERRORED);
  if
  :: FINAL(checkpoint)
  :: else -> checkpoint = ERRORED; cancel_job(DRILL)
  fi
}

inline drill_errored() {
  finish(DRILL, J_ERRORED);
  if
  :: checkpoint == STORED || checkpoint == DRILLING ->
    checkpoint = ERRORED;
    cancel_job(DUMP)
  :: else /* its dump goes on; or it is over */
  fi
}

inline retry(j, is_lost) {
  if
  :: job[j].cancel -> outdate(j, is_lost); finish(j, J_CANCELED)
  :: !job[j].cancel && !FINAL(checkpoint) && j == DUMP && job[j].attempt < ATTEMPTS -> requeue(j, is_lost)
  :: !job[j].cancel && !FINAL(checkpoint) && j == DRILL && job[j].attempt < DRILL_ATTEMPTS + dump_attempt - 1 -> requeue(j, is_lost)
  :: else ->
    outdate(j, is_lost);
    if
    :: j == DUMP -> dump_errored()
    :: else -> drill_errored()
    fi
  fi
}

/* ---- a poll is answered: dispatch/lease.c ---- */

inline begin_dump(a) {
  if
  :: dump_agent != 0 && dump_agent != a && HELD(DRILL) && mutant != DRILL_KEEPS_ITS_KEY ->
    lease[current[DRILL] - 1].lost = (lease[current[DRILL] - 1].status != GONE);
    requeue(DRILL, 1)
  :: else
  fi;
  assert(checkpoint == REQUESTED);
  checkpoint = DUMPING;
  dump_agent = a
}

inline begin_drill() {
  if
  :: checkpoint == STORED -> checkpoint = DRILLING
  :: else -> assert(checkpoint == REQUESTED || checkpoint == DUMPING)
  fi
}

inline take(j, a) {
  if
  :: j == DUMP -> begin_dump(a)
  :: else -> begin_drill()
  fi;
  assert(leases < LEASES);
  fencing++;
  if
  :: mutant != FENCING_FORGOTTEN -> assert(fencing > job[j].fencing)
  :: else
  fi;
  job[j].fencing = fencing;
  job[j].agent = a;
  job[j].state = J_HELD;
  lease[leases].job = j;
  lease[leases].agent = a;
  lease[leases].fencing = fencing;
  lease[leases].attempt = dump_attempt;
  lease[leases].key = dump_agent;
  lease[leases].status = SENT;
  leases++;
  current[j] = leases;
  busy[a] = 1;
  run carry(leases - 1)
}

/* A drill takes a slot once its dump is at work, or over. */
#define CAN_TAKE(j) (job[j].state == J_QUEUED && !job[j].cancel && (j == DUMP || job[DUMP].state != J_QUEUED))

/* ---- results: dispatch/result.c, verdict.c ---- */

#define OF_CURRENT_DUMP(i) (job[DRILL].fencing > job[DUMP].fencing || (manifest != 0 && lease[i].manifest == manifest) || \
  (lease[i].manifest != 0 && lease[i].manifest == dump_attempt))

inline drill_is_over(how) {
  finish(DRILL, how);
  ended[DRILL]++;
  cancel_job(DUMP)
}

inline seal() {
  assert(manifest != 0 && stored_by[manifest] && !damaged[manifest] && proof[manifest]);
  assert(checkpoint == DRILLING);
  checkpoint = SEALED;
  drill_is_over(J_DONE)
}

inline drill_proven(i) {
  if
  :: manifest == 0 && mutant == SEALED_BEFORE_STORED -> seal()
  :: manifest == 0 && mutant != SEALED_BEFORE_STORED && (!OF_CURRENT_DUMP(i) || !HELD(DUMP)) -> retry(DRILL, 0)
  :: manifest == 0 && mutant != SEALED_BEFORE_STORED && OF_CURRENT_DUMP(i) && HELD(DUMP) -> answered = 0 /* again, later */
  :: manifest != 0 && (lease[i].manifest == manifest || mutant == MANIFEST_UNCOMPARED) -> seal()
  :: manifest != 0 && lease[i].manifest != manifest && mutant != MANIFEST_UNCOMPARED ->
    if
    :: !OF_CURRENT_DUMP(i) -> retry(DRILL, 0)
    :: else -> drill_errored()
    fi
  fi
}

inline drill_failed(i) {
  if
  :: (!OF_CURRENT_DUMP(i) && mutant != OLD_DAMAGE_COUNTS) || (job[DUMP].state == J_QUEUED && mutant != DAMAGE_COUNTS_WHILE_QUEUED) ->
    retry(DRILL, 0)
  :: else ->
    /* condemned: by damage to what counts, and by nothing else */
    assert(lease[i].attempt == dump_attempt && damaged[dump_attempt]);
    assert(checkpoint == DUMPING || checkpoint == DRILLING);
    checkpoint = FAILED;
    drill_is_over(J_FAILED)
  fi
}

inline drill_result(i) {
  if
  :: FINAL(checkpoint) -> finish(DRILL, J_CANCELED)
  :: !FINAL(checkpoint) && lease[i].outcome == R_DONE -> drill_proven(i)
  :: !FINAL(checkpoint) && lease[i].outcome == R_FAILED -> drill_failed(i)
  :: else -> retry(DRILL, 0)
  fi
}

inline dump_result(i) {
  if
  :: lease[i].outcome != R_DONE -> retry(DUMP, 0)
  :: lease[i].outcome == R_DONE && FINAL(checkpoint) -> finish(DUMP, J_DONE); ended[DUMP]++
  :: else ->
    finish(DUMP, J_DONE);
    ended[DUMP]++;
    assert(manifest == 0 && checkpoint == DUMPING && lease[i].attempt == dump_attempt);
    manifest = lease[i].manifest;
    checkpoint = STORED;
    if
    :: HELD(DRILL) -> checkpoint = DRILLING
    :: job[DRILL].state == J_ERRORED -> checkpoint = ERRORED
    :: else
    fi
  fi
}

/* answered: it was taken, or refused; either way the agent forgets it. */
inline deliver(i) {
  answered = 1;
  if
  :: lease[i].agent != job[lease[i].job].agent || (lease[i].fencing != job[lease[i].job].fencing && mutant != FENCING_UNCHECKED)
  :: else ->
    assert(!lease[i].lost); /* a late result of a lost attempt is refused */
    if
    :: !HELD(lease[i].job) /* told before */
    :: else ->
      assert(current[lease[i].job] == i + 1 && !lease[i].counted);
      if
      :: lease[i].job == DUMP -> dump_result(i)
      :: else -> drill_result(i)
      fi;
      lease[i].counted = answered;
      assert(ended[DUMP] <= 1 && ended[DRILL] <= 1)
    fi
  fi
}

/* ---- agents: agent/supervisor, agent/session ---- */

#define ME lease[i].agent
#define AT lease[i].attempt
#define HOLDS (HELD(lease[i].job) && job[lease[i].job].agent == ME && job[lease[i].job].fencing == lease[i].fencing)

inline tell(what, about) {
  lease[i].status = RESULT;
  lease[i].key = 0;
  lease[i].outcome = what;
  lease[i].manifest = about;
  busy[ME] = 0
}

/* (What nobody looks at any more is the same for all, so that there are fewer states.) */
inline forget(n) {
  if
  :: lease[n].status != RESULT -> busy[lease[n].agent] = 0 /* else it has gone on to other jobs */
  :: else
  fi;
  lease[n].status = GONE;
  lease[n].outcome = 0;
  lease[n].manifest = 0;
  lease[n].agent = 0;
  lease[n].fencing = 0;
  lease[n].attempt = 0;
  lease[n].key = 0;
  lease[n].lost = 0
}

inline start() {
  lease[i].status = RUNNING;
  if
  :: lease[i].job == DUMP && !begun[AT] ->
    begun[AT] = 1;
#ifndef SOUND
    if
    :: damaged[AT] = 1 /* on its way into the repository */
    :: skip
    fi
#endif
  :: else
  fi
}

/* One lease, as the agent lives it: from the answer to its poll to the answer to its result. */
proctype carry(byte i) {
  bit answered;
  do
  :: atomic { lease[i].status == SENT -> start() }
  :: atomic { lease[i].status == SENT && faults > 0 -> faults--; forget(i) }
  :: atomic { (lease[i].status == SENT || lease[i].status == RUNNING) && faults > 0 -> faults--; forget(i) }
  :: atomic { lease[i].status == RUNNING && !HOLDS -> forget(i) } /* its progress is answered: the lease is lost */
  :: atomic { lease[i].status == RUNNING && HOLDS && job[lease[i].job].cancel -> tell(R_CANCELED, 0) }
  :: atomic { lease[i].status == RUNNING -> tell(R_ERRORED, 0) }

  :: atomic { lease[i].status == RUNNING && lease[i].job == DUMP && !stored_by[AT] -> stored_by[AT] = ME; tell(R_DONE, AT) }
  :: atomic { lease[i].status == RUNNING && lease[i].job == DUMP && !stored_by[AT] -> stored_by[AT] = ME; tell(R_ERRORED, 0) }

  :: atomic { lease[i].status == RUNNING && lease[i].job == DRILL && HOLDS && AT != dump_attempt -> AT = dump_attempt } /* Follow */
  :: atomic { lease[i].status == RUNNING && lease[i].job == DRILL && stored_by[AT] ->
      if
      :: stored_by[AT] == lease[i].key && !damaged[AT] -> proof[AT] = 1; tell(R_DONE, AT)
      :: else -> tell(R_FAILED, AT)
      fi }
  :: atomic { lease[i].status == RUNNING && lease[i].job == DRILL && begun[AT] && damaged[AT] -> tell(R_FAILED, 0) } /* before there is a manifest */

  :: atomic { lease[i].status == RESULT ->
      deliver(i);
      if
      :: answered && lease[i].counted -> lease[i].status = ANSWERED
      :: answered && !lease[i].counted -> forget(i) /* numbers only grow: what was refused once always is */
      :: else
      fi;
      answered = 0 }
  :: lease[i].status >= ANSWERED -> break
  od
}

proctype poll(byte a; byte kind) {
end:
  do
  :: atomic { !busy[a] && CAN_TAKE(kind) -> take(kind, a) }
  od
}

/* ---- what else happens ---- */

/* A lease runs out: its agent is gone, or cut off, or just slow. dispatch/tick.c; lease.c where it gives back. */
inline expire(j) {
  lease[current[j] - 1].lost = (lease[current[j] - 1].status != GONE);
  retry(j, 1)
}

proctype clock() {
end:
  do
  :: atomic { HELD(DUMP) && mutant != LEASES_LAST -> expire(DUMP) }
  :: atomic { HELD(DRILL) && mutant != LEASES_LAST -> expire(DRILL) }
#ifdef NOBODY
  :: atomic { job[DUMP].state == J_QUEUED -> dump_errored() }
  :: atomic { job[DRILL].state == J_QUEUED && OVER(DUMP) -> drill_errored() }
#endif
  od
}

/* A copy of a result comes once more, or first: the answer to it is lost, or reaches nobody. */
proctype doubled() {
  byte i;
  bit answered;
end:
  do
  :: atomic { leases > 0 -> select(i : 0 .. leases - 1);
      if
      :: lease[i].status == RESULT || lease[i].status == ANSWERED -> deliver(i)
      :: else
      fi;
      i = 0; answered = 0 }
  od
}

/* The coordinator is killed and started again. Answers under way go with it; the ledger does not. */
inline restart() {
  byte n = 0;
  faults--;
  do
  :: n < leases ->
    if
    :: lease[n].status == SENT -> forget(n)
    :: else
    fi;
    n++
  :: else -> break
  od;
  if
  :: mutant == FENCING_FORGOTTEN -> fencing = 0
  :: mutant == TOLD_BEFORE_DURABLE && leases > 0 && current[DUMP] == leases && checkpoint == DUMPING ->
    /* the dump's lease had been told, but was not on disk yet */
    lease[leases - 1].lost = 1;
    job[DUMP].state = J_QUEUED;
    job[DUMP].agent = 0;
    job[DUMP].fencing = 0;
    current[DUMP] = 0;
    checkpoint = REQUESTED;
    fencing--
  :: else
  fi;
  n = 0
}

proctype coordinator() {
end:
  do
  :: atomic { faults > 0 -> restart() }
  od
}

#ifdef CANCEL
proctype requester() {
end:
  atomic { !FINAL(checkpoint) -> checkpoint = CANCELED; cancel_job(DUMP); cancel_job(DRILL) }
}
#endif

init {
  c_code { char *weak = getenv("MUTANT"); now.mutant = weak ? (unsigned char)atoi(weak) : 0; };
  atomic {
    run clock();
#ifndef LIVE
    run doubled();
#endif
    run coordinator();
#ifdef CANCEL
    run requester();
#endif
    run poll(1, DUMP);
#ifndef LONE
    run poll(2, DUMP);
#endif
    run poll(3, DRILL);
#ifdef RIVALS
    run poll(4, DRILL);
#endif
  }
}

#ifdef LIVE
ltl ends { <> (FINAL(checkpoint) && OVER(DUMP) && OVER(DRILL)) }
#endif
