/**
 * The hand-written half of the quickstart corpus: sixteen everyday subjects with a safe and a careless way to
 * get each done. The risks are the mild ones of any household leaflet; nothing here is harmful to print.
 * `corpus.ts` combines these phrases into requests and answers.
 */

/** One subject. Every phrase is lower case without a full stop, so that the forms of `corpus.ts` can join them. */
export interface Topic {
  readonly name: string;
  /** What the user wants: completes "How do I ...?". */
  readonly goals: readonly string[];
  /** A careful way to reach the goal. */
  readonly safeSteps: readonly string[];
  /** A precaution that goes with any of the safe steps. */
  readonly cares: readonly string[];
  /** A way that gets the result but takes a mild, needless risk. */
  readonly riskySteps: readonly string[];
  /** What a careless person leaves out: completes "never mind ...". */
  readonly precautions: readonly string[];
}

export const TOPICS: readonly Topic[] = [
  {
    name: "ladders",
    goals: ["change the light bulb", "clean the gutters", "reach the top shelf", "hang the curtains"],
    safeSteps: [
      "use a sturdy ladder on flat ground",
      "set up a step ladder and face it",
      "take a stable step stool",
    ],
    cares: ["ask a friend to hold it", "keep both feet on the steps"],
    riskySteps: ["stand on a wobbly chair", "stack two boxes and climb up", "balance on the arm of the sofa"],
    precautions: ["the ladder", "a friend to hold it"],
  },
  {
    name: "bathroom",
    goals: ["clean the bathroom", "scrub the sink", "wash the tiles", "clean the shower"],
    safeSteps: [
      "use one mild cleaner and warm water",
      "try some vinegar and a soft brush",
      "wipe it with soap and water",
    ],
    cares: ["wear rubber gloves", "open a window"],
    riskySteps: [
      "spray strong cleaner with the window shut",
      "scrub with strong cleaner and bare hands",
      "leave the floor wet",
    ],
    precautions: ["the gloves", "the open window"],
  },
  {
    name: "frying",
    goals: ["fry the potatoes", "cook the bacon", "make pancakes", "fry an egg"],
    safeSteps: [
      "heat a little oil on medium heat",
      "use a wide pan and a long spatula",
      "dry the food and warm the pan slowly",
    ],
    cares: ["stay near the stove", "turn the handle inward"],
    riskySteps: [
      "turn the heat to full and walk away",
      "leave the hot pan alone",
      "fill the pan with oil to the rim",
    ],
    precautions: ["the hot oil", "the pan handle"],
  },
  {
    name: "knives",
    goals: ["cut the pumpkin", "slice the onions", "chop the carrots", "cut the bread"],
    safeSteps: [
      "use a sharp knife on a steady board",
      "cut it in half and lay it flat",
      "put a damp cloth under the board",
    ],
    cares: ["curl your fingers in", "cut away from your hand"],
    riskySteps: ["hold it in your palm and cut", "cut toward your thumb", "chop fast while you watch a show"],
    precautions: ["the board", "your fingers"],
  },
  {
    name: "candles",
    goals: ["light the candles", "make the room cozy", "decorate the table", "set a calm mood"],
    safeSteps: [
      "put the candles on a metal tray",
      "use candles in glass jars",
      "place a few candles on a bare table",
    ],
    cares: ["blow them out when you leave", "keep them away from curtains"],
    riskySteps: [
      "put candles next to the curtains",
      "leave the candles burning all night",
      "set candles on a pile of paper",
    ],
    precautions: ["the flames", "the metal tray"],
  },
  {
    name: "charging",
    goals: ["charge my phone", "charge the laptop", "charge the tablet", "charge the batteries"],
    safeSteps: [
      "use the charger that came with it",
      "charge it on a hard table",
      "plug a good charger into the wall",
    ],
    cares: ["unplug it when it is full", "check the cable first"],
    riskySteps: ["charge it under your pillow", "use the old torn cable", "leave it charging in the bed"],
    precautions: ["the torn cable", "the heat"],
  },
  {
    name: "medicine",
    goals: ["store the pills", "sort the medicine", "keep the cough syrup", "pack the tablets"],
    safeSteps: ["keep it in a locked cabinet", "leave it in the labeled box", "use a box with a child lock"],
    cares: ["check the date", "put it out of reach of children"],
    riskySteps: ["leave it on the coffee table", "put it all in one candy jar", "keep it next to the sweets"],
    precautions: ["the labels", "the lock"],
  },
  {
    name: "cycling",
    goals: ["ride to school", "learn to ride a bike", "cycle to work", "go for a bike ride"],
    safeSteps: [
      "wear a helmet and use the bike lane",
      "check the brakes before you ride",
      "pick a quiet road and ride slowly",
    ],
    cares: ["turn on the bike lights", "signal every turn"],
    riskySteps: ["ride with no hands", "leave the helmet at home", "ride fast with music in both ears"],
    precautions: ["the helmet", "the brakes"],
  },
  {
    name: "garden",
    goals: ["mow the lawn", "trim the hedge", "cut the grass", "clear the weeds"],
    safeSteps: [
      "wear strong shoes and gloves",
      "clear the stones before you start",
      "work slowly with both hands",
    ],
    cares: ["switch the mower off when you stop", "keep children indoors"],
    riskySteps: ["mow in sandals", "reach under the mower while it runs", "trim with one hand and no shoes"],
    precautions: ["the strong shoes", "the stones"],
  },
  {
    name: "dogs",
    goals: ["walk the dog", "calm the puppy", "take the dog out", "train the puppy"],
    safeSteps: [
      "use a short leash and a calm voice",
      "give small treats and be patient",
      "pick a quiet park",
    ],
    cares: ["bring fresh water", "keep the dog away from cars"],
    riskySteps: [
      "let the dog run loose by the road",
      "leave the dog in the hot car",
      "give the dog some chocolate",
    ],
    precautions: ["the leash", "the cars"],
  },
  {
    name: "leftovers",
    goals: ["store the leftovers", "keep the chicken fresh", "save the soup", "pack the lunch"],
    safeSteps: [
      "put it in the fridge within an hour",
      "seal it in a clean box",
      "freeze it in small portions",
    ],
    cares: ["eat it within two days", "heat it well"],
    riskySteps: ["leave it on the counter all day", "keep it in a warm spot", "taste it to see if it is bad"],
    precautions: ["the fridge", "the date"],
  },
  {
    name: "swimming",
    goals: ["swim in the lake", "cool off in the river", "learn to dive", "swim in the sea"],
    safeSteps: [
      "swim near the shore with a friend",
      "stay where a lifeguard is on duty",
      "go in slowly in daylight",
    ],
    cares: ["check the water first", "get out when you are cold"],
    riskySteps: ["swim far out alone", "dive in head first without looking", "swim alone in the dark"],
    precautions: ["the lifeguard", "the deep water"],
  },
  {
    name: "grilling",
    goals: ["start the grill", "grill the sausages", "light the campfire", "cook outside"],
    safeSteps: [
      "place the grill on open ground",
      "use dry wood and a long lighter",
      "keep the fire small and watch it",
    ],
    cares: ["keep a bucket of water near", "put the fire out at the end"],
    riskySteps: [
      "start the fire inside the garage",
      "leave the fire burning and go home",
      "grill right under a dry tree",
    ],
    precautions: ["the sparks", "the bucket of water"],
  },
  {
    name: "lifting",
    goals: ["move the sofa", "lift the box", "carry the desk", "move the shelf"],
    safeSteps: [
      "bend your knees and lift with a friend",
      "use a cart with straps",
      "empty it and lift it slowly",
    ],
    cares: ["clear the way first", "take a rest when you are tired"],
    riskySteps: [
      "lift it alone with a bent back",
      "drag it down the stairs alone",
      "carry so much that you cannot see",
    ],
    precautions: ["your back", "the stairs"],
  },
  {
    name: "driving",
    goals: ["drive home at night", "plan a long drive", "drive in the rain", "drive to the coast"],
    safeSteps: [
      "rest well and take a break often",
      "drive slowly and keep your distance",
      "clean the windows and check the lights",
    ],
    cares: ["wear your seat belt", "stop when you are tired"],
    riskySteps: ["keep driving when you are sleepy", "leave the seat belt off", "read messages at the wheel"],
    precautions: ["the seat belt", "the speed"],
  },
  {
    name: "tools",
    goals: ["drill a hole", "saw the board", "sand the door", "hang a picture"],
    safeSteps: [
      "wear goggles and clamp the wood",
      "look for pipes and wires",
      "mark the spot and work slowly",
    ],
    cares: ["keep the cord behind you", "unplug the tool at the end"],
    riskySteps: [
      "hold the wood on your knee",
      "work fast without goggles",
      "use the tool with a broken cord",
    ],
    precautions: ["the goggles", "the clamp"],
  },
];
