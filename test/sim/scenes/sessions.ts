/** Scenes of clients and their sessions. */
export const sessionScenes = {};
